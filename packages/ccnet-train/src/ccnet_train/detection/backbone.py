"""The backbone of a Mask R-CNN: a ResNet with attention under a feature pyramid, and the strides of its maps."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from operator import mul
from typing import Any

from torch import nn
from torchvision.models import resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from ccnet_core.config import BackboneConfig
from ccnet_core.context_block import insert_attention
from ccnet_core.resnet import ResNet
from ccnet_train.detection.config import DetectorConfig


def make_backbone(config: DetectorConfig) -> nn.Module:
    """Return the backbone of a configuration with its feature pyramid, and with random weights."""
    body: Any
    if isinstance(config.backbone, BackboneConfig):
        body = ResNet(config.backbone)
        widths = body.channels
    else:
        norm = FrozenBatchNorm2d if config.norm == "frozen" else nn.BatchNorm2d
        body = getattr(resnet, config.backbone)(norm_layer=partial(norm, eps=config.norm_epsilon))
        widths = [body.inplanes // 8 * 2**stage for stage in range(4)]
    insert_attention(body, config.attention, recurrence=config.recurrence, stage=config.stage)
    returned = {f"layer{stage + 1}": str(stage) for stage in range(len(widths))}
    return BackboneWithFPN(body, returned, widths, config.channels)  # type: ignore[no-any-return]


def map_strides(config: DetectorConfig) -> list[int]:
    """Return how many pixels a cell of each map of the backbone stands for, along each axis."""
    steps = config.backbone.strides if isinstance(config.backbone, BackboneConfig) else (1, 2, 2, 2)
    return list(accumulate((4 * steps[0], *steps[1:]), mul))


def set_strides(pool: MultiScaleRoIAlign, strides: Sequence[int]) -> None:
    """Tell `pool` the strides of its maps.

    torchvision guesses them from the first pictures that it meets, and never again; sizes from before they are padded
    mislead it where an edge is short.
    """
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(int(math.log2(strides[0])), int(math.log2(strides[-1])))
