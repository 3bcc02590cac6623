"""The last layers of a Mask R-CNN, whose shapes depend on the number of classes, and changing them.

Output 0 is the background, output i + 1 is class i.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from ccnet_train.detection.config import DetectorConfig

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN

logger = logging.getLogger(__name__)

COORDINATES = 4
"""Outputs of `bbox_pred` for each class."""


def make_box_predictor(config: DetectorConfig) -> nn.Module:
    """Return the layer that gives scores and boxes, with random weights."""
    return answer_in_float32(FastRCNNPredictor(config.box_channels, config.num_classes + 1))


def make_mask_predictor(config: DetectorConfig) -> nn.Module:
    """Return the layers that give masks, with random weights."""
    return answer_in_float32(MaskRCNNPredictor(config.channels, config.channels, config.num_classes + 1))


def answer_in_float32(layers: nn.Module) -> nn.Module:
    """Let `layers` answer in float32 under autocast too, and return them.

    torchvision computes boxes in the type of these answers, and bfloat16 has steps of 4 pixels from 512 on.
    """
    layers.register_forward_hook(_widen)
    return layers


def _widen(_layers: nn.Module, _inputs: object, answer: Any) -> Any:
    return tree_map(torch.Tensor.float, answer)


def replace_classes(model: "MaskRCNN", config: DetectorConfig, *, source: object) -> None:
    """Let `model` have the classes of `config`; it keeps what it knows of classes of the same name.

    The others start at random, and the log says which, and that the network came from `source`.
    """
    known, heads = model.config.classes, model.roi_heads
    places = {name: place for place, name in enumerate(known)}
    rows = [0, *(places[name] + 1 if name in places else -1 for name in config.classes)]
    box, mask = make_box_predictor(config).to(model.device), make_mask_predictor(config).to(model.device)
    _keep_rows(heads.box_predictor.cls_score, box.get_submodule("cls_score"), rows)
    _keep_rows(heads.box_predictor.bbox_pred, box.get_submodule("bbox_pred"), rows, COORDINATES)
    _keep_rows(heads.mask_predictor.mask_fcn_logits, mask.get_submodule("mask_fcn_logits"), rows)
    mask.get_submodule("conv5_mask").load_state_dict(heads.mask_predictor.conv5_mask.state_dict())
    heads.box_predictor, heads.mask_predictor = box.train(model.training), mask.train(model.training)
    model.config = config
    new = [name for name in config.classes if name not in places]
    logger.warning(
        "%s: %d of its %d classes are kept. %s",
        source,
        config.num_classes - len(new),
        len(known),
        f"These start at random: {', '.join(new)}." if new else "No class is new.",
    )


def _keep_rows(before: nn.Module, after: nn.Module, rows: Sequence[int], each: int = 1) -> None:
    """Copy of `before`, which has `each` outputs for a class, output `rows[i]` to output i of `after`; -1: none."""
    kept = [place for place, row in enumerate(rows) if row >= 0]
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    with torch.no_grad():
        for name, value in new.items():
            shape = (-1, each, *value.shape[1:])
            value.view(shape)[kept] = old[name].view(shape)[[rows[place] for place in kept]]
