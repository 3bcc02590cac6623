"""Mask R-CNN of torchvision, with attention in its backbone.

Shape letters: K classes, N objects, H and W height and width of a picture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection import mask_rcnn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from ccnet_core.attention.select import require_known
from ccnet_core.checks import require
from ccnet_core.rcca import CrissCrossAttention
from ccnet_train.detection.backbone import make_backbone, map_strides, set_strides
from ccnet_train.detection.config import DetectorConfig, load_config
from ccnet_train.detection.detections import Detections, Target
from ccnet_train.detection.inputs import require_images, require_targets
from ccnet_train.detection.packed import PackedDetections, PackedMask, PackedMasks
from ccnet_train.detection.predictors import answer_in_float32, make_box_predictor, make_mask_predictor
from ccnet_train.detection.pretrained import Pretrained
from ccnet_train.detection.weights import load_backbone

BOX_CELLS = 7
"""Cells along each edge of what the box head sees of a proposal; torchvision's own number."""

IMAGE_MEAN, IMAGE_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of ImageNet, for pixels from 0 to 1: torchvision's own numbers."""

ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Of the anchors, height to width."""


class MaskRCNN(mask_rcnn.MaskRCNN, Pretrained):  # type: ignore[misc]  # Any where torchvision is not installed
    """Finds the objects of a picture: a box, a class, a score and a mask for each.

    torchvision's network, whose state dict names it keeps, with the attention of :func:`ccnet_core.insert_attention` in
    its backbone (`backbone.body.layer3.context.*`). Takes pictures as bytes or floats from 0 to 255, resizes and
    normalises them itself. `config` says everything about it.
    """

    def __init__(self, config: DetectorConfig) -> None:
        known = isinstance(config, DetectorConfig)
        require(known, f"expected a DetectorConfig, got {config!r}; MaskRCNN.from_config also takes a name")
        channels = config.channels
        training, evaluation = config.proposals
        super().__init__(
            make_backbone(config),
            rpn_anchor_generator=Anchors(
                tuple((size,) for size in config.anchor_sizes), (ASPECT_RATIOS,) * len(config.anchor_sizes)
            ),
            rpn_pre_nms_top_n_train=training,
            rpn_post_nms_top_n_train=training,
            rpn_pre_nms_top_n_test=evaluation,
            rpn_post_nms_top_n_test=evaluation,
            box_head=TwoMLPHead(channels * BOX_CELLS**2, config.box_channels),
            box_predictor=make_box_predictor(config),
            box_batch_size_per_image=config.box_samples,
            box_score_thresh=config.score_threshold,
            box_nms_thresh=config.nms_threshold,
            box_detections_per_img=config.max_detections,
            mask_head=mask_rcnn.MaskRCNNHeads(channels, (channels,) * config.mask_convolutions, 1),
            mask_predictor=make_mask_predictor(config),
        )
        self.transform: nn.Module = Transform(config.min_size, config.max_size, IMAGE_MEAN, IMAGE_STD)
        answer_in_float32(self.rpn.head)
        for pool in (self.roi_heads.box_roi_pool, self.roi_heads.mask_roi_pool):
            set_strides(pool, map_strides(config))
        self.config = config

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Find the objects of `images`, uint8 or floating (3, H, W), RGB, 0-255, of any sizes.

        In training mode, which needs `targets`, it returns torchvision's five losses by their names; in evaluation mode
        a :class:`Detections` for each picture. Raises PictureError for other images, and TrainError for targets that do
        not fit them.
        """
        require_images(images)
        if not self.training:
            return [found.unpack() for found in self.find(images)]
        require_targets(targets, images, self.config.num_classes)
        losses: dict[str, Tensor] = super().forward(_scaled(images), [_labelled(target) for target in targets or ()])
        return losses

    def find(self, images: Sequence[Tensor]) -> list[PackedDetections]:
        """Do what :meth:`forward` does in evaluation mode, and never hold more than one mask that is not packed."""
        require_images(images)
        return [_detections(found) for found in super().forward(_scaled(images))]

    @classmethod
    def from_config(
        cls,
        config: str | DetectorConfig,
        *,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        recurrence: int | None = None,
        attention: Literal["criss_cross", "non_local"] | None = None,
        backbone_weights: str | Path | None = None,
    ) -> "MaskRCNN":
        """Build a network with random weights from a name of :func:`list_detectors` or a configuration.

        `classes` and `palette` replace COCO's; `recurrence` is the number of attention steps (0 leaves attention out),
        `attention` their kind. `backbone_weights` is a file with a ResNet of ImageNet under torchvision's names, which
        are timm's too. Raises ConfigError for an unknown name and WeightsError for wrong `backbone_weights`.
        """
        if isinstance(config, str):
            config = load_config(config)
        require(isinstance(config, DetectorConfig), f"expected a name or a DetectorConfig, got {config!r}")
        model = cls(config.with_classes(classes, palette).with_attention(attention, recurrence))
        if backbone_weights is not None:
            load_backbone(model.backbone.body, backbone_weights, what=f"the backbone of {config.name}")
        return model

    def use_attention(self, backend: str | None) -> None:
        """Ask for an attention backend by name; see :meth:`ccnet_core.CCNet.use_attention`."""
        require_known(backend)
        for module in self.modules():
            if isinstance(module, CrissCrossAttention):
                module.backend = backend

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = self.roi_heads.box_predictor.cls_score.weight.device
        return device


class Anchors(AnchorGenerator):  # type: ignore[misc]  # Any where torchvision is not installed
    """torchvision's, but in float32 also under autocast, where it would round them to bfloat16 for good."""

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:  # noqa: ARG002
        """Bring the anchors of a cell to `device`."""
        super().set_cell_anchors(torch.float32, device)


class Transform(GeneralizedRCNNTransform):  # type: ignore[misc]  # Any where torchvision is not installed
    """torchvision's, but for masks: :class:`PackedMasks`, each made at its own time."""

    def postprocess(
        self, result: list[dict[str, Any]], image_shapes: list[tuple[int, int]], original: list[tuple[int, int]]
    ) -> list[dict[str, Any]]:
        """Return boxes and masks at the size of the pictures."""
        if self.training:
            return result
        for found, resized, size in zip(result, image_shapes, original, strict=True):
            found["boxes"] = resize_boxes(found["boxes"], resized, size)
            pasted = (
                paste_masks_in_image(mask[None], box[None], size)[0, 0] >= 0.5
                for mask, box in zip(found["masks"], found["boxes"], strict=True)
            )
            found["masks"] = PackedMasks([PackedMask.pack(mask.cpu().numpy()) for mask in pasted], size)
        return result


def _labelled(target: Target) -> dict[str, Tensor]:
    """Return a target as torchvision calls it, whose class 0 is the background."""
    return {"boxes": target["boxes"], "labels": target["classes"] + 1, "masks": target["masks"].to(torch.uint8)}


def _scaled(images: Sequence[Tensor]) -> list[Tensor]:
    return [image.float() / 255 for image in images]


def _detections(found: Mapping[str, Any]) -> PackedDetections:
    return PackedDetections(
        boxes=found["boxes"].detach().float().cpu().numpy(),
        classes=found["labels"].cpu().numpy() - 1,
        scores=found["scores"].detach().float().cpu().numpy(),
        masks=found["masks"],
    )
