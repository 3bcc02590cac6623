"""The affine training warp of CE2P for pictures of people, and the way back to the original picture.

The rules are those of Self-Correction-Human-Parsing (datasets/datasets.py and utils/transforms.py), which took them
over from CE2P. A matrix, float64 (2, 3), takes (column, row, 1) of the original picture to (column, row) of the warped
one. Whole numbers are the centres of pixels, as in OpenCV and in torch's grid_sample with align_corners=True.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .augment import mirror, require_label
from .errors import DataError
from .options import Option, Options, number, several, whole_number
from .pictures import channels_first, channels_last
from .resize import Size
from .sample import IGNORE_INDEX, Colour, Pixels, Sample

Matrix = NDArray[np.float64]

_SIDE = whole_number(2, 32767)
_CLASS_PAIR = several(whole_number(0, 254), count=2)


@dataclass(frozen=True, kw_only=True)
class WarpAugment(Options):
    """Random affine warp of a picture, a pure function of (sample, generator).

    `size` is (height, width) in pixels, the size of every result. The whole picture is fitted into it, ratio kept and
    middle on middle, and divided by a factor drawn from normal(1, `scale`), clipped to 1 +- `scale`. With
    `rotate_probability` it is turned by degrees drawn from normal(0, `rotation`), clipped to +- 2 `rotation`. `flip` is
    the probability of a mirror image, in which the classes of `flip_pairs` change places. `fill` is the RGB colour,
    0-255, around the picture, where the label is 255.

    A result has "warp" and "original_size", which `warp_back` takes. Raises DataError with all faults of the arguments.
    """

    size: Annotated[Size, Option(several(_SIDE, count=2), "height and width of the result")] = (473, 473)
    scale: Annotated[float, Option(number(0, 0.9), "deviation and limit of the scale")] = 0.25
    rotation: Annotated[float, Option(number(0, 90), "deviation of the angle in degrees, half its limit")] = 30
    rotate_probability: Annotated[float, Option(number(0, 1), "probability of any rotation")] = 0.6
    flip: Annotated[float, Option(number(0, 1), "probability of a mirror image")] = 0.5
    fill: Annotated[Colour, Option(several(whole_number(0, 255), count=3), "colour around the picture")] = (0, 0, 0)
    flip_pairs: Annotated[
        tuple[tuple[int, int], ...], Option(several(_CLASS_PAIR), "classes a mirror image swaps")
    ] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return a new sample of `size`; `sample` stays as it is. Raises DataError for a clip or objects."""
        require_label(sample)
        image, label = sample["image"], sample["label"]
        if image.ndim != 3:
            raise DataError(f"Sample {sample['id']!r} is a clip, but a warp is for single pictures; use kind: crop.")
        height, width = label.shape
        warp = fit_matrix((height, width), self.size, self._shrink(rng), self._degrees(rng))
        source = invert(warp)
        if rng.random() < self.flip:
            image, label = mirror(image, label, self.flip_pairs)
            warp = warp @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]])
        picture = _resample(channels_last(image), source, self.size, Image.Resampling.BILINEAR, self.fill)
        labels = _resample(Image.fromarray(label), source, self.size, Image.Resampling.NEAREST, IGNORE_INDEX)
        warped: Sample = {**sample, "image": channels_first(picture), "label": np.array(labels), "warp": warp}
        return {**warped, "original_size": (height, width)}

    def without_chance(self) -> "WarpAugment":
        """Return the same fit without scale, rotation and mirror image, for evaluation."""
        return replace(self, scale=0, rotate_probability=0, flip=0)

    def _shrink(self, rng: np.random.Generator) -> float:
        return float(np.clip(rng.normal(1, self.scale), 1 - self.scale, 1 + self.scale))

    def _degrees(self, rng: np.random.Generator) -> float:
        if rng.random() >= self.rotate_probability:
            return 0.0
        return float(np.clip(rng.normal(0, self.rotation), -2 * self.rotation, 2 * self.rotation))


def fit_matrix(original_size: Size, size: Size, shrink: float = 1, degrees: float = 0) -> Matrix:
    """Return the matrix that fits `original_size` into `size`, divided by `shrink` and turned anticlockwise.

    Sizes are (height, width). Middle goes to middle, and the longer side, as `size` counts, from first to last pixel.
    """
    (height, width), (rows, columns) = original_size, size
    longer_side = max(width - 1, (height - 1) * columns / rows, 1)
    factor = (columns - 1) / (longer_side * shrink)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = factor * np.array([[cosine, sine], [-sine, cosine]])
    middle, target = np.array([width - 1, height - 1]) / 2, np.array([columns - 1, rows - 1]) / 2
    return np.column_stack([turn, target - turn @ middle])


def invert(matrix: Matrix) -> Matrix:
    """Return the matrix, float64 (2, 3), that leads back."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]])


def warp_back(prediction: NDArray[np.generic], warp: Matrix, original_size: Size) -> Pixels:
    """Return the labels, uint8 `original_size`, of what was predicted for a warped picture.

    `prediction` is labels, uint8 (h, w), of which the nearest is taken, or scores, floating (classes, h, w), which are
    interpolated before the best class is taken. Labels are 255 where the warped picture does not reach. Classes stay
    as they are, so of a mirrored picture swap them before. Raises DataError for other arrays.
    """
    if prediction.ndim == 2 and prediction.dtype == np.uint8:
        picture = Image.fromarray(np.ascontiguousarray(prediction))
        return np.array(_resample(picture, warp, original_size, Image.Resampling.NEAREST, IGNORE_INDEX))
    if prediction.ndim != 3 or not np.issubdtype(prediction.dtype, np.floating):
        raise DataError(
            f"A prediction is labels, uint8 (h, w), or scores, floating (classes, h, w), not {prediction.dtype} with "
            f"{prediction.ndim} axes."
        )
    scores = np.empty((len(prediction), *original_size), np.float32)
    for interpolated, plane in zip(scores, np.ascontiguousarray(prediction, np.float32), strict=True):
        picture = Image.fromarray(plane)
        interpolated[:] = np.asarray(_resample(picture, warp, original_size, Image.Resampling.BILINEAR, np.nan))
    return np.where(np.isnan(scores[0]), IGNORE_INDEX, scores.argmax(axis=0)).astype(np.uint8)


def _resample(
    picture: Image.Image, source: Matrix, size: Size, method: Image.Resampling, fill: float | Colour
) -> Image.Image:
    """Return a picture of `size` whose pixels come from where the matrix `source` leads, or are `fill` outside.

    BILINEAR cuts bytes off instead of rounding them, so they are up to 1 too dark. NEAREST counts in 65536ths.
    """
    # Pillow counts from the corner of a pixel, so its centres lie at halves.
    offset = source[:, 2] + 0.5 - source[:, :2].sum(axis=1) / 2
    data = np.column_stack([source[:, :2], offset]).ravel().tolist()
    return picture.transform((size[1], size[0]), Image.Transform.AFFINE, data, method, fillcolor=fill)
