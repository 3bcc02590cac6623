"""Augmentation of pictures with objects: scaled, mirrored, colours distorted; each keeps a size of its own."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from .augment import read_ratio
from .errors import DataError
from .options import Option, Options, number, one_or_several, switch, whole_number
from .photometric import distort
from .resize import Size, resize_crop, resize_masks
from .sample import Instances

_EDGE = whole_number(1, 65535)
_LEAST_SIDE = 1e-5
"""Of a box, in pixels: detectron2's threshold."""
_OF_OBJECTS = ("boxes", "masks", "classes", "crowd", "areas")


@dataclass(frozen=True, kw_only=True)
class InstanceAugment(Options):
    """Random scale, mirror image and colours of a sample with objects, a pure function of (sample, generator).

    The shorter edge of the picture becomes one of `short_edge`, drawn with equal chance, or without it stays as it is,
    times a factor drawn from `ratio`. Where the longer edge would then have more than `longest_edge` pixels, it gets as
    many, and the shorter one in proportion. `flip` is the probability of a mirror image. Raises DataError with all
    faults of the arguments.
    """

    short_edge: Annotated[
        tuple[int, ...] | None, Option(one_or_several(_EDGE), "shorter edge of the result, or several to draw from")
    ] = None
    longest_edge: Annotated[int | None, Option(_EDGE, "most pixels of the longer edge")] = None
    ratio: Annotated[tuple[float, float], Option(read_ratio, "least and largest factor of the shorter edge")] = (1, 1)
    flip: Annotated[float, Option(number(0, 1), "probability of a mirror image")] = 0.5
    photometric: Annotated[bool, Option(switch, "whether colours are distorted")] = False

    def __call__(self, sample: Instances, rng: np.random.Generator) -> Instances:
        """Return a new sample; `sample` stays as it is. The generator is the only source of chance.

        Boxes are multiplied by the ratio of the sizes, masks take the pixel under the centre of each new one. Objects,
        crowds included, whose box has no width or no height or whose mask holds no pixel any more are left out, as
        detectron2 does (filter_empty_instances). Raises DataError for a sample that has no masks.
        """
        if "masks" not in sample:
            raise DataError(f"Sample {sample['id']!r} has no masks; kind: instances is for datasets of objects.")
        height, width = sample["image"].shape[1:]
        size = self._target((height, width), rng)
        image = resize_crop(sample["image"], size, (slice(0, size[0]), slice(0, size[1])))
        masks = resize_masks(sample["masks"], size)
        boxes = scaled_boxes(sample["boxes"], (height, width), size)
        if rng.random() < self.flip:
            image, masks = np.ascontiguousarray(image[..., ::-1]), np.ascontiguousarray(masks[..., ::-1])
            boxes = mirrored_boxes(boxes, size[1])
        if self.photometric:
            image = distort(image, rng)
        result: Instances = {**sample, "image": image, "boxes": boxes, "masks": masks}
        if "areas" in sample:
            result["areas"] = sample["areas"] * (size[0] * size[1] / (height * width))
        return without_empty(result)

    def _target(self, size: Size, rng: np.random.Generator) -> Size:
        short = min(size) if self.short_edge is None else self.short_edge[rng.integers(len(self.short_edge))]
        factor = short * rng.uniform(*self.ratio) / min(size)
        if self.longest_edge is not None:
            factor = min(factor, self.longest_edge / max(size))
        return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def scaled_boxes(boxes: NDArray[np.float32], original: Size, size: Size) -> NDArray[np.float32]:
    """Return `boxes`, float32 (N, 4), of a picture of `original` (height, width) as those of the picture in `size`."""
    ratio = np.array([size[1] / original[1], size[0] / original[0]] * 2)
    scaled: NDArray[np.float64] = boxes * ratio
    return scaled.astype(np.float32)


def mirrored_boxes(boxes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Return `boxes`, float32 (N, 4), as those of the mirror image of a picture `width` pixels wide."""
    left, top, right, bottom = boxes.T
    return np.stack([width - right, top, width - left, bottom], axis=1)


def without_empty(sample: Instances) -> Instances:
    """Return `sample` without the objects whose box has no width or no height, or whose mask holds no pixel."""
    boxes = sample["boxes"]
    kept = (boxes[:, 2:] - boxes[:, :2] > _LEAST_SIDE).all(1) & sample["masks"].any((1, 2))
    of_objects = {key: sample[key][kept] for key in _OF_OBJECTS if key in sample}  # type: ignore[literal-required]
    return {**sample, **of_objects}  # type: ignore[typeddict-item]
