"""Losses for semantic segmentation."""

from ccnet_core.losses.category_consistent import CategoryConsistentLoss
from ccnet_core.losses.cross_entropy import CrossEntropy
from ccnet_core.losses.edges import EdgeCrossEntropy, edge_truth
from ccnet_core.losses.ohem import OhemCrossEntropy

__all__ = ["CategoryConsistentLoss", "CrossEntropy", "EdgeCrossEntropy", "OhemCrossEntropy", "edge_truth"]
