"""From a picture to one class per pixel, by an inference plan.

Shape letters: T frames, K classes, H and W size of the picture, h and w size of a view of it (resized, mirrored).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ccnet_core.checks import require
from ccnet_core.clips import recent, to_frames
from ccnet_core.config import InferencePlan, Mode
from ccnet_core.errors import ConfigError
from ccnet_core.model import CCNet
from ccnet_core.preprocess import Picture
from ccnet_core.resize import fit_bytes, resize_bytes, strips
from ccnet_core.score_map import Fitted, Logits, Mirrored, Resized, ScoreMap, Sliding

if TYPE_CHECKING:
    from ccnet_core.optimized import OptimizedCCNet

Segmenter: TypeAlias = "CCNet | OptimizedCCNet"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """`labels` (H, W), one class per pixel: uint8, or int32 for more than 256 classes.

    `scores` is None or float32 (K, H, W): logits for a single view, mean class probability for several.
    """

    labels: NDArray[np.integer]
    scores: NDArray[np.float32] | None


class PlanOptions(TypedDict, total=False):
    """How to predict, as the keywords of :func:`ccnet_core.predict` say it."""

    plan: InferencePlan | None
    mode: Mode | None
    crop: tuple[int, int] | None
    stride: tuple[int, int] | None
    scales: tuple[float, ...]
    flip: bool
    resize: Literal["plan"] | None


def predict(
    model: Segmenter,
    image: Picture,
    *,
    plan: InferencePlan | None = None,
    mode: Mode | None = None,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    resize: Literal["plan"] | None = None,
    scores: bool = False,
) -> Prediction:
    """Segment one picture; the result has the picture's own size.

    `image` is a path, a Pillow image, a uint8 array (H, W, 3) RGB or a uint8 tensor (3, H, W) RGB, of any size from one
    pixel. Only a file is turned upright as its EXIF data says. A clip, a uint8 tensor (T, 3, H, W), gives the labels of
    its last frame, from as many frames as the model takes; a picture is a clip of one frame.

    `mode`, `crop` and `stride` (height, width) default to the model's plan, the other options to what stands here;
    `resize="plan"` fits the picture to the published base scale first. A `plan` replaces all of these options and is
    carried out whole: `plan=model.config.inference` does what was published, base scale and all.

    A label is the first class with the highest score; a score that is not a number counts as highest. `scores=True`
    keeps the scores, K x H x W x 4 bytes; without it nothing of that size exists. Besides the picture, the labels and
    what the network needs for one view or window, pixels included, predict then holds the network's own logits and less
    than 100 MB. At stride 8 the logits of one view are 1/64 of that size and those of six scales with mirror images
    0.27 of it; in mode "slide" only those of the windows that a strip of a few rows meets are held; in mode "fit" that
    size is the crop's.

    The model's mode, dtype and device are left as they were. Raises PictureError for a picture that cannot be read,
    ConfigError for options that cannot be carried out, and AttentionError if the attention backend that was asked for
    cannot serve.
    """
    plan = make_plan(model, plan=plan, mode=mode, crop=crop, stride=stride, scales=scales, flip=flip, resize=resize)
    return predict_batch(model, to_frames(image)[None], plan, scores=scores)[0]


def make_plan(
    model: Segmenter,
    *,
    plan: InferencePlan | None = None,
    mode: Mode | None = None,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    resize: Literal["plan"] | None = None,
) -> InferencePlan:
    """Return the plan that the options of :func:`predict` describe. Raises ConfigError if none can be."""
    if plan is None:
        plan = model.config.inference.with_options(
            mode=mode, crop=crop, stride=stride, scales=scales, flip=flip, resize=resize
        )
    elif (mode, crop, stride, scales, flip, resize) != (None, None, None, (1.0,), False, None):
        raise ConfigError("predict: give either a plan or single options, not both.")
    require(isinstance(plan, InferencePlan), f"predict: plan must be a ccnet_core.InferencePlan, got {plan!r}")
    return plan


def predict_batch(model: Segmenter, pictures: Tensor, plan: InferencePlan, *, scores: bool = False) -> list[Prediction]:
    """Segment uint8 `pictures` (B, 3, H, W) or clips (B, T, 3, H, W) of one size, as :func:`predict` does one."""
    with evaluating(model):
        images = recent(pictures, model.config.head.frames).to(model.device)
        return predictions_of(_views(model, images, plan), scores=scores)


def predictions_of(views: Sequence[ScoreMap], *, scores: bool = False) -> list[Prediction]:
    """Return what the `views` of pictures say of each, with the scores if they are to be kept."""
    labels, kept = _walk(views, keep_scores=scores)
    return [
        Prediction(labels=labels[index].numpy(), scores=None if kept is None else kept[index].numpy())
        for index in range(len(labels))
    ]


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


def _views(model: Segmenter, pictures: Tensor, plan: InferencePlan) -> list[ScoreMap]:
    """Return the logits of every view of `pictures` (B, [T,] 3, H, W), turned back and resized to their size."""
    size = picture_size(pictures)
    mirrors = (False, True) if plan.flip else (False,)
    sizes = [view_size(size, scale, plan) for scale in plan.scales]
    views = (_view(model, pictures, view, mirrored, plan) for view in sizes for mirrored in mirrors)
    return [Fitted(view, size) if plan.mode == "fit" else to_size(model, view, size) for view in views]


def picture_size(pictures: Tensor) -> tuple[int, int]:
    """Return (height, width) of (..., H, W)."""
    return pictures.shape[-2], pictures.shape[-1]


def view_size(size: tuple[int, int], scale: float, plan: InferencePlan) -> tuple[int, int]:
    """Return the (height, width) of a view of a picture of `size`.

    In mode "fit" it is the crop times `scale`, rounded, but two pixels at least. Otherwise a box, the base scale if the
    plan says so, else the picture, is multiplied by `scale` and rounded; then the picture is fitted into it, its ratio
    kept (mmcv, `Resize` with `keep_ratio`).
    """
    if plan.mode == "fit" and plan.crop is not None:
        height, width = (max(2, int(edge * scale + 0.5)) for edge in plan.crop)
        return height, width
    box = plan.base_scale if plan.resize == "plan" and plan.base_scale is not None else size
    fitted = [int(edge * scale + 0.5) for edge in box]
    factor = min(max(fitted) / max(size), min(fitted) / min(size))
    height, width = (max(1, int(edge * factor + 0.5)) for edge in size)
    return height, width


def _view(model: Segmenter, pictures: Tensor, size: tuple[int, int], mirrored: bool, plan: InferencePlan) -> ScoreMap:
    """Return the logits of the pictures resized or fitted to `size`, and mirrored there and back if `mirrored`."""
    resample = fit_bytes if plan.mode == "fit" else resize_bytes

    def read(start: int, stop: int) -> Tensor:
        rows = resample(pictures.flatten(0, -4), size, start, stop)
        return rows.flip(3) if mirrored else rows

    def segment(view: Tensor) -> ScoreMap:
        images = torch.unflatten(view, 0, pictures.shape[:-3])
        return to_size(model, Logits(model(images, auxiliary=False).logits), picture_size(view))

    view: ScoreMap
    if plan.mode == "slide" and plan.crop is not None and plan.stride is not None:
        shape = (len(pictures), *size, model.config.num_classes)
        view = Sliding(shape, plan.crop, plan.stride, read, segment, pictures.device)
    else:
        view = segment(read(0, size[0]))
    return Mirrored(view, model.config.flip_pairs) if mirrored else view


def to_size(model: Segmenter, scores: ScoreMap, size: tuple[int, int]) -> ScoreMap:
    """Resize to `size`, with the model's `align_corners`."""
    return scores if scores.shape[1:3] == size else Resized(scores, size, model.config.align_corners)


def _walk(views: Sequence[ScoreMap], *, keep_scores: bool) -> tuple[Tensor, Tensor | None]:
    """Return labels (B, H, W) and, if kept, scores (B, K, H, W), computed from top to bottom in strips of rows."""
    batch, height, width, classes = views[0].shape
    labels = torch.empty(batch, height, width, dtype=torch.uint8 if classes <= 256 else torch.int32, device="cpu")
    kept = None
    if keep_scores:
        kept = torch.empty(batch, classes, height, width, dtype=torch.float32, device="cpu")
    for rows, scores in score_strips(views):
        labels[:, rows] = scores.argmax(3)
        if kept is not None:
            kept[:, :, rows] = scores.permute(0, 3, 1, 2)
    return labels, kept


def score_strips(views: Sequence[ScoreMap], fewest: int = 1) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows, `fewest` or more of them, and their scores (B, n, W, K), from top to bottom."""
    for start, stop in strips(0, views[0].shape[1], max(view.row_bytes for view in views), fewest):
        yield slice(start, stop), _mean(views, start, stop)


def _mean(views: Sequence[ScoreMap], start: int, stop: int) -> Tensor:
    """Return rows of the only view, or of the mean softmax of several: (B, n, W, K)."""
    if len(views) == 1:
        return views[0].rows(start, stop)
    total = views[0].rows(start, stop).softmax(3)
    for view in views[1:]:
        total += view.rows(start, stop).softmax(3)
    return total.div_(len(views))
