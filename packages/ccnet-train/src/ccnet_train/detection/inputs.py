"""What pictures and targets of a Mask R-CNN must be. torchvision would fail at some of it, and learn from the rest."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ccnet_core.errors import PictureError
from ccnet_train.detection.detections import Target
from ccnet_train.errors import TrainError


def require_images(images: Sequence[Tensor]) -> None:
    """Raise PictureError unless `images` are tensors (3, H, W) with pixels, at least one of them."""
    if not len(images):
        raise PictureError("Expected at least one picture.")
    for number, image in enumerate(images):
        if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
            found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise PictureError(f"Picture {number}: expected a tensor (3, H, W), got {found}.")
        if not (image.dtype == torch.uint8 or image.is_floating_point()):
            raise PictureError(f"Picture {number}: expected uint8 or floating numbers, got {image.dtype}.")


def require_targets(targets: Sequence[Target] | None, images: Sequence[Tensor], classes: int) -> None:
    """Raise TrainError, which names the picture by its number, unless there is a target that fits each of `images`."""
    if targets is None or len(targets) != len(images):
        count = "none" if targets is None else len(targets)
        raise TrainError(f"Training needs a target for each of {len(images)} pictures, got {count}.")
    for number, (target, image) in enumerate(zip(targets, images, strict=True)):
        fault = _fault(target, image, classes)
        if fault:
            raise TrainError(f"The target of picture {number}: {fault}.")


def _fault(target: Target, image: Tensor, classes: int) -> str | None:
    boxes, labels, masks = target["boxes"], target["classes"], target["masks"]
    count, size = len(boxes), tuple(image.shape[1:])
    if boxes.shape != (count, 4) or boxes.dtype != torch.float32:
        return f"boxes must be float32 (N, 4), got {boxes.dtype} {tuple(boxes.shape)}"
    if labels.shape != (count,) or labels.dtype != torch.int64:
        return f"classes must be int64 ({count},), got {labels.dtype} {tuple(labels.shape)}"
    if masks.shape != (count, *size) or masks.dtype != torch.bool:
        return f"masks must be bool {(count, *size)}, got {masks.dtype} {tuple(masks.shape)}"
    if not count:
        return None
    if not 0 <= labels.min() <= labels.max() < classes:
        return f"classes must be from 0 to {classes - 1}, got {labels.tolist()}"
    if not (boxes.isfinite().all() and (boxes[:, 2:] > boxes[:, :2]).all()):
        return f"boxes must be left, top, right, bottom, with a width and a height; got {boxes.tolist()}"
    return None
