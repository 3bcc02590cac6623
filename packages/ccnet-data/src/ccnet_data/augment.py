"""Augmentation for training: resize, crop, flip, distort colours, pad, in this order.

The order and the rules are those of the mmsegmentation 1.2.2 models. Each step is a function of arrays and of what was
drawn; only `TrainAugment` and `draw_crop` hold the generator. Sizes are (height, width), but scales (width, height).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image

from .errors import DataError
from .options import Option, Options, number, several, switch, whole_number
from .photometric import distort
from .resize import Area, Size, resize_crop, resize_label
from .sample import IGNORE_INDEX, Colour, Pixels, Sample

CROP_REDRAWS = 10
_SIDE = whole_number(1, 65535)
_CLASS_PAIR = several(whole_number(0, 254), count=2)


def read_ratio(value: object) -> tuple[float, float]:
    """Read the least and the largest resize factor."""
    low, high = several(number(0.01, 100), count=2)(value)
    if low > high:
        raise DataError(f"must be [least, largest], got {value!r}.")
    return low, high


@dataclass(frozen=True, kw_only=True)
class TrainAugment(Options):
    """Random augmentation of a sample, a pure function of (sample, generator).

    `crop` is (height, width) in pixels, the size of every result. `base_scale` is (width, height): pictures are fitted
    into it, ratio kept and whichever way they lie, times a factor drawn from `ratio`; None means the picture's own
    size. A crop in which one class has `max_class_share` or more of the pixels that count, or that has fewer than two
    classes, is drawn again, up to 10 times; a share of 1 turns this off. `flip` is the probability of a mirror image,
    in which the classes of `flip_pairs` change places. `fill` is the RGB colour, 0-255, around pictures smaller than
    the crop, where the label is 255. Raises DataError with all faults of the arguments.
    """

    crop: Annotated[Size, Option(several(_SIDE, count=2), "height and width of the result")] = (512, 1024)
    base_scale: Annotated[
        Size | None, Option(several(_SIDE, count=2), "width and height that the factors refer to")
    ] = None
    ratio: Annotated[tuple[float, float], Option(read_ratio, "least and largest resize factor")] = (0.5, 2.0)
    max_class_share: Annotated[float, Option(number(0, 1), "crops with as much of one class are drawn again")] = 0.75
    flip: Annotated[float, Option(number(0, 1), "probability of a mirror image")] = 0.5
    photometric: Annotated[bool, Option(switch, "whether colours are distorted")] = True
    fill: Annotated[Colour, Option(several(whole_number(0, 255), count=3), "colour of padding")] = (124, 116, 104)
    flip_pairs: Annotated[
        tuple[tuple[int, int], ...], Option(several(_CLASS_PAIR), "classes a mirror image swaps")
    ] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return a new sample of size `crop`; `sample` stays as it is. The generator is the only source of chance.

        All frames of a clip get the same changes. Raises DataError for a sample without a label map.
        """
        require_label(sample)
        size = self._target(sample["label"].shape, rng)
        area, label = draw_crop(sample["label"], size, self.crop, self.max_class_share, rng)
        image = resize_crop(sample["image"], size, area)
        if rng.random() < self.flip:
            image, label = mirror(image, label, self.flip_pairs)
        if self.photometric:
            image = distort(image, rng)
        image, label = pad(image, label, self.crop, self.fill)
        return {**sample, "image": image, "label": label}

    def _target(self, size: tuple[int, ...], rng: np.random.Generator) -> Size:
        height, width = size
        return scaled_size((height, width), self.base_scale or (width, height), rng.uniform(*self.ratio))


def require_label(sample: Sample) -> None:
    """Raise DataError for a sample of objects, which has no label map."""
    if "label" not in sample:
        raise DataError(f"Sample {sample['id']!r} has no label map; for datasets of objects use kind: instances.")


def scaled_size(size: Size, base_scale: Size, factor: float) -> Size:
    """Return the size that fits `size` into `base_scale` times `factor`, ratio kept, at least 1 x 1.

    The longer side is held against the longer of `base_scale`, the shorter against the shorter. The scaled base is cut
    to whole pixels (mmcv 2.1.0, RandomResize and rescale_size).
    """
    longer, shorter = (max(1, int(edge * factor)) for edge in (max(base_scale), min(base_scale)))
    fit = min(longer / max(size), shorter / min(size))
    return max(1, int(size[0] * fit + 0.5)), max(1, int(size[1] * fit + 0.5))


def draw_crop(
    label: Pixels, size: Size, crop: Size, max_class_share: float, rng: np.random.Generator
) -> tuple[Area, Pixels]:
    """Draw a window of at most `crop` in `label` resized to `size`, up to 10 times again while classes are not mixed.

    The last draw is taken as it comes. Returns the window, in pixels of the resized label, and what it shows.
    """
    for _ in range(1 + CROP_REDRAWS):
        area = _window(size, crop, rng)
        shown = resize_label(label, size, area)
        if max_class_share == 1 or is_mixed(shown, max_class_share):
            break
    return area, shown


def is_mixed(label: Pixels, max_class_share: float) -> bool:
    """Return whether `label` has two classes or more, all below `max_class_share` of the pixels that count."""
    # Pillow's count takes half the time of numpy's bincount.
    counts = np.array(Image.fromarray(label).histogram()[:IGNORE_INDEX])
    return bool(np.count_nonzero(counts) >= 2 and counts.max() < max_class_share * counts.sum())


def mirror(image: Pixels, label: Pixels, flip_pairs: tuple[tuple[int, int], ...]) -> tuple[Pixels, Pixels]:
    """Mirror (..., 3, H, W) and (H, W) left and right, and swap the two classes of each pair."""
    image, label = np.ascontiguousarray(image[..., ::-1]), np.ascontiguousarray(label[:, ::-1])
    if not flip_pairs:
        return image, label
    swapped = np.arange(256, dtype=np.uint8)
    for one, other in flip_pairs:
        swapped[[one, other]] = other, one
    return image, swapped.take(label)


def pad(image: Pixels, label: Pixels, crop: Size, fill: Colour) -> tuple[Pixels, Pixels]:
    """Extend (..., 3, H, W) and (H, W) to `crop` on the right and below, with the colour `fill` and with 255."""
    height, width = label.shape
    if (height, width) == crop:
        return image, label
    padded = np.empty((*image.shape[:-2], *crop), np.uint8)
    padded[:] = np.array(fill, np.uint8)[:, None, None]
    padded[..., :height, :width] = image
    padded_label = np.full(crop, IGNORE_INDEX, np.uint8)
    padded_label[:height, :width] = label
    return padded, padded_label


def _window(size: Size, crop: Size, rng: np.random.Generator) -> Area:
    """Draw where a crop lies; along an axis shorter than the crop it is the whole axis."""
    rows, columns = (_interval(extent, wanted, rng) for extent, wanted in zip(size, crop, strict=True))
    return rows, columns


def _interval(extent: int, wanted: int, rng: np.random.Generator) -> slice:
    start = int(rng.integers(0, max(0, extent - wanted) + 1))
    return slice(start, min(start + wanted, extent))
