"""Losses for semantic segmentation."""

from ccnet_core.losses.category_consistent import CategoryConsistentLoss
from ccnet_core.losses.cross_entropy import CrossEntropy
from ccnet_core.losses.ohem import OhemCrossEntropy

__all__ = ["CategoryConsistentLoss", "CrossEntropy", "OhemCrossEntropy"]
