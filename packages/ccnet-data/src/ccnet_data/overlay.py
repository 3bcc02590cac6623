"""A sample as two small pictures: as it is, and with the colours of its classes laid over it."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .pictures import channels_last
from .sample import IGNORE_INDEX, Colour, Instances, Pixels, Sample, SegmentationDataset

LABEL_WEIGHT = 0.6
"""Share of the class colour in the overlay; the rest is the picture."""
HATCH_PERIOD, HATCH_WIDTH = 8, 2
"""Distance and width of the diagonal lines over what is ignored, in pixels."""
DARK, LIGHT = (20, 20, 20), (235, 235, 235)
"""Their colours, side by side, so that they show on any ground."""


class View(NamedTuple):
    """A sample drawn: the picture, the overlay, and the labels that occur, with 255 where something is hatched."""

    picture: Image.Image
    overlay: Image.Image
    labels: frozenset[int]


def view(sample: Sample, dataset: SegmentationDataset, longer_side: int) -> View:
    """Draw `sample` so that its longer side has `longer_side` pixels; of a clip the last frame.

    Ignored pixels and crowds are hatched. Objects have their class's colour and a box.
    """
    image = sample["image"][-1] if dataset.task == "video" else sample["image"]
    size = _fitted(image.shape[1:], longer_side)
    picture = _resized(image, size)
    if dataset.task == "instances":
        return _view_objects(picture, image.shape[1:], cast(Instances, sample), dataset.palette)
    label = sample["label"][np.ix_(*_nearest(sample["label"].shape, size))]
    tinted = hatch(tint(np.asarray(picture), label, dataset.palette), label == IGNORE_INDEX)
    return View(picture, Image.fromarray(tinted), frozenset(np.unique(sample["label"]).tolist()))


def tint(picture: Pixels, label: Pixels, palette: Sequence[Colour]) -> Pixels:
    """Return `picture`, uint8 (H, W, 3), with the class colours of `label`, uint8 (H, W), mixed in."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    weight = np.where(np.arange(256) < len(palette), np.float32(LABEL_WEIGHT), np.float32(0))
    mixed: NDArray[np.float32] = picture + weight[label][..., None] * (colours[label] - picture)
    return mixed.round().astype(np.uint8)


def hatch(picture: Pixels, region: NDArray[np.bool_]) -> Pixels:
    """Return `picture`, uint8 (H, W, 3), with diagonal lines over `region`, bool (H, W)."""
    y, x = np.indices(region.shape, np.int32)
    stripe = (x + y) % HATCH_PERIOD // HATCH_WIDTH
    hatched = picture.copy()
    hatched[region & (stripe == 0)] = DARK
    hatched[region & (stripe == 1)] = LIGHT
    return hatched


def _view_objects(
    picture: Image.Image, original: tuple[int, ...], sample: Instances, palette: Sequence[Colour]
) -> View:
    pixels = np.asarray(picture)
    size = pixels.shape[:2]
    rows, columns = _nearest(original, size)
    # In the order of the file small objects would vanish under large ones.
    for index in np.argsort(-sample["masks"].sum((1, 2)), kind="stable"):
        mask = sample["masks"][index][np.ix_(rows, columns)]
        label = np.where(mask, sample["classes"][index], IGNORE_INDEX).astype(np.uint8)
        pixels = hatch(pixels, mask) if sample["crowd"][index] else tint(pixels, label, palette)
    drawn = Image.fromarray(pixels)
    scale = np.array([size[1] / original[1], size[0] / original[0]] * 2)
    # The last row and column of a box lie before its lower and right edge.
    for box, number in zip(sample["boxes"] * scale - (0, 0, 1, 1), sample["classes"], strict=True):
        left, top, right, bottom = box.tolist()
        ImageDraw.Draw(drawn).rectangle((left, top, max(left, right), max(top, bottom)), outline=palette[number])
    hatched = {IGNORE_INDEX} if sample["crowd"].any() else set()
    return View(picture, drawn, frozenset(sample["classes"].tolist()) | hatched)


def _fitted(size: tuple[int, ...], longer_side: int) -> tuple[int, int]:
    factor = longer_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _resized(image: Pixels, size: tuple[int, int]) -> Image.Image:
    # Enlarged pixels stay square, so that a small label map can be checked pixel by pixel.
    method = Image.Resampling.NEAREST if max(size) > max(image.shape[1:]) else Image.Resampling.BILINEAR
    return channels_last(image).resize((size[1], size[0]), method)


def _nearest(original: tuple[int, ...], size: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and column of `original` under the centre of each row and column of `size`."""
    rows, columns = (
        ((np.arange(small) + 0.5) * large / small).astype(np.int64) for large, small in zip(original, size, strict=True)
    )
    return rows, columns
