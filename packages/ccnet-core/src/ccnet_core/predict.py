"""From a picture to one class per pixel, by an inference plan.

Shape letters: K classes, H and W size of the picture, h and w size of a view of it (resized, mirrored).
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ccnet_core.checks import require
from ccnet_core.config import InferencePlan
from ccnet_core.errors import ConfigError
from ccnet_core.model import CCNet
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_core.resize import resize_bytes


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """`labels` (H, W), one class per pixel: uint8, or int32 for more than 256 classes.

    `scores` is None or float32 (K, H, W): logits for a single view, mean class probability for several.
    """

    labels: NDArray[np.integer]
    scores: NDArray[np.float32] | None


def predict(
    model: CCNet,
    image: Picture,
    *,
    plan: InferencePlan | None = None,
    mode: Literal["whole", "slide"] | None = None,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    resize: Literal["plan"] | None = None,
    scores: bool = False,
) -> Prediction:
    """Segment one picture; the result has the picture's own size.

    `image` is a path, a Pillow image, a uint8 array (H, W, 3) RGB or a uint8 tensor (3, H, W) RGB. `mode`, `crop` and
    `stride` (height, width) default to the model's plan, the other options to what stands here; `resize="plan"` fits
    the picture to the published base scale first. A whole `plan` replaces all of these options. `scores=True` keeps the
    scores, K x H x W x 4 bytes. The model's mode, dtype and device are left as they were. Raises PictureError for a
    picture that cannot be read, ConfigError for options that cannot be carried out, and AttentionError if the attention
    backend that was asked for cannot serve.
    """
    if plan is None:
        chosen = {"mode": mode, "crop": crop, "stride": stride}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        plan = dataclasses.replace(model.config.inference, **chosen, scales=scales, flip=flip, resize=resize)  # type: ignore[arg-type]
        require(plan.mode == "slide" or not (crop or stride), "predict: crop and stride belong to mode='slide'")
    elif (mode, crop, stride, scales, flip, resize) != (None, None, None, (1.0,), False, None):
        raise ConfigError("predict: give either a plan or single options, not both.")
    picture = to_tensor(image)[None].to(model.device)
    with evaluating(model):
        result = _scores(model, picture, plan)
    labels = result.argmax(0).to(torch.uint8 if len(result) <= 256 else torch.int32)
    return Prediction(labels=labels.cpu().numpy(), scores=result.float().cpu().numpy() if scores else None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run the block without gradients and in evaluation mode, then restore the mode of every module."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def _scores(model: CCNet, picture: Tensor, plan: InferencePlan) -> Tensor:
    """(1, 3, H, W) uint8 -> (K, H, W): logits of the only view, or the mean softmax of several."""
    size = picture_size(picture)
    views = [
        (view_size(size, scale, plan), mirrored) for scale in plan.scales for mirrored in (False, True)[: 1 + plan.flip]
    ]
    if len(views) == 1:
        return _view_logits(model, picture, *views[0], plan)[0]
    total = torch.zeros(1, model.config.num_classes, *size, device=picture.device)
    for view in views:
        total += _view_logits(model, picture, *view, plan).float().softmax(1)
    return total[0] / len(views)


def picture_size(pictures: Tensor) -> tuple[int, int]:
    """Return (height, width) of (B, C, H, W)."""
    return pictures.shape[2], pictures.shape[3]


def view_size(size: tuple[int, int], scale: float, plan: InferencePlan) -> tuple[int, int]:
    """Return the (height, width) of a view of a picture of `size`.

    A box, the base scale if the plan says so, else the picture, is multiplied by `scale` and rounded; then the picture
    is fitted into it, its ratio kept (mmcv, `Resize` with `keep_ratio`).
    """
    box = plan.base_scale if plan.resize == "plan" and plan.base_scale is not None else size
    fitted = [int(edge * scale + 0.5) for edge in box]
    factor = min(max(fitted) / max(size), min(fitted) / min(size))
    height, width = (max(1, int(edge * factor + 0.5)) for edge in size)
    return height, width


def _view_logits(model: CCNet, picture: Tensor, size: tuple[int, int], mirrored: bool, plan: InferencePlan) -> Tensor:
    """Return the logits of one view, turned back and resized to the picture: (1, K, H, W)."""
    view = resize_bytes(picture, size)
    view = view.flip(3) if mirrored else view
    logits = _slide(model, view, plan) if plan.mode == "slide" else _whole(model, view)
    logits = logits.flip(3) if mirrored else logits
    original = picture_size(picture)
    return logits if picture_size(logits) == original else model.resize_logits(logits, original)


def _whole(model: CCNet, view: Tensor) -> Tensor:
    return model.resize_logits(model(view, auxiliary=False).logits, picture_size(view))


def _slide(model: CCNet, view: Tensor, plan: InferencePlan) -> Tensor:
    """Return the mean of the logits of all windows that cover a pixel."""
    total = torch.zeros(1, model.config.num_classes, *view.shape[2:], device=view.device)
    count = torch.zeros(1, 1, *view.shape[2:], device=view.device)
    for rows, columns in windows(picture_size(view), plan):
        total[..., rows, columns] += _whole(model, view[..., rows, columns])
        count[..., rows, columns] += 1
    return total / count


def windows(size: tuple[int, int], plan: InferencePlan) -> Iterator[tuple[slice, slice]]:
    """Yield the windows of mmsegmentation's rule: a regular grid whose last window is shifted inside the picture."""
    if plan.crop is None or plan.stride is None:
        raise ConfigError("predict: mode 'slide' needs crop=(height, width) and stride=(height, width).")
    for top in _offsets(size[0], plan.crop[0], plan.stride[0]):
        for left in _offsets(size[1], plan.crop[1], plan.stride[1]):
            yield slice(top, top + plan.crop[0]), slice(left, left + plan.crop[1])


def _offsets(extent: int, crop: int, stride: int) -> list[int]:
    count = max(extent - crop + stride - 1, 0) // stride + 1
    return [max(min(index * stride, extent - crop), 0) for index in range(count)]
