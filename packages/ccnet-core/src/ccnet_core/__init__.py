"""CCNet: criss-cross attention for semantic segmentation.

`CCNet.from_config` and `CCNet.from_pretrained` make a model, `predict` segments a picture with it.
"""

from importlib.metadata import version

from ccnet_core.attention.plugins import attention_backends
from ccnet_core.attention_map import attention_map
from ccnet_core.clip_predictor import ClipPredictor
from ccnet_core.config import CCNetConfig, InferencePlan
from ccnet_core.context_block import insert_attention
from ccnet_core.convert import convert_checkpoint
from ccnet_core.errors import AttentionError, CCNetError, ConfigError, OptimizedError, PictureError, WeightsError
from ccnet_core.losses import CategoryConsistentLoss, CrossEntropy, EdgeCrossEntropy, OhemCrossEntropy, edge_truth
from ccnet_core.model import CCNet, CCNetOutput
from ccnet_core.non_local import NonLocalBlock
from ccnet_core.optimized import Agreement, OptimizedCCNet
from ccnet_core.predict import Prediction, predict
from ccnet_core.predict_large import estimate_large, predict_large
from ccnet_core.predict_many import PicturePrediction, predict_many
from ccnet_core.rcca import (
    CrissCrossAttention,
    CrissCrossAttention3d,
    RecurrentCrissCrossAttention,
    RecurrentCrissCrossAttention3d,
)
from ccnet_core.zoo import list_models

__version__ = version("ccnet-core")

__all__ = [
    "Agreement",
    "AttentionError",
    "CCNet",
    "CCNetConfig",
    "CCNetError",
    "CCNetOutput",
    "CategoryConsistentLoss",
    "ClipPredictor",
    "ConfigError",
    "CrissCrossAttention",
    "CrissCrossAttention3d",
    "CrossEntropy",
    "EdgeCrossEntropy",
    "InferencePlan",
    "NonLocalBlock",
    "OhemCrossEntropy",
    "OptimizedCCNet",
    "OptimizedError",
    "PictureError",
    "PicturePrediction",
    "Prediction",
    "RecurrentCrissCrossAttention",
    "RecurrentCrissCrossAttention3d",
    "WeightsError",
    "attention_backends",
    "attention_map",
    "convert_checkpoint",
    "edge_truth",
    "estimate_large",
    "insert_attention",
    "list_models",
    "predict",
    "predict_large",
    "predict_many",
]
