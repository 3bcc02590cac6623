"""Regions as COCO writes them, polygons or run lengths, as masks. Polygons are drawn by pycocotools, as everywhere."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LEAST_NUMBERS = 6
"""Numbers of a polygon's part, x and y in turns. Parts with fewer than three points are passed over, as detectron2 does
(data/datasets/coco.py)."""

INSTALL = 'install pycocotools: python -m pip install "ccnet-data[coco]"'


def require_pycocotools() -> None:
    """Raise DataError, with the command that installs it, where pycocotools is missing."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise DataError(f"COCO's regions need a package that cannot be imported ({error}); {INSTALL}.") from error


def region_fault(region: object) -> str | None:
    """Return what is wrong with the form of a region, whose numbers are looked at when it is drawn."""
    if isinstance(region, dict):
        size = region.get("size")
        if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)):
            return "has run lengths without their size, [height, width]"
        return None if isinstance(region.get("counts"), list | str) else "has run lengths without counts"
    if not isinstance(region, list) or not region:
        return "has no segmentation"
    if not all(isinstance(part, list) and len(part) % 2 == 0 for part in region):
        return "has a polygon that is no list of x and y in turns"
    return None


def region_mask(region: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Return `region` as bool (H, W) of `size`. Raises DataError, beginning with `where`, for wrong numbers."""
    try:
        if isinstance(region, dict):
            return _runs_mask(region["counts"], size)
        return _polygon_mask([coordinates(part, size) for part in polygon_parts(region)], size)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} has a segmentation that cannot be drawn ({error}); mend or remove it.") from error


def _polygon_mask(parts: list[list[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    from pycocotools import mask

    if not parts:
        return np.zeros(size, bool)
    with warnings.catch_warnings():
        # numpy 2 objects to how pycocotools 2.0.11 hands its arrays over.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept", DeprecationWarning)
        drawn: NDArray[np.bool_] = mask.decode(mask.merge(mask.frPyObjects(parts, *size))).astype(bool)
    return drawn


def _runs_mask(counts: list[int] | str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of run lengths, of background and object in turns, down the columns.

    pycocotools would leave what too few of them do not reach to chance.
    """
    lengths = np.array(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"its run lengths do not fill a picture of {size[1]}x{size[0]}")
    return np.ascontiguousarray(np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size[::-1]).T)


def _unpacked(text: str) -> list[int]:
    """Return the run lengths in COCO's compressed form.

    Each is written from its lowest five bits up, one character for five bits, 32 added where more follow and 48 to make
    it printable; the last one's highest bit is the sign. From the fourth on it is the difference to the one before last
    (cocoapi, common/maskApi.c, rleToString).
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"{text[:20]!r} is no compressed run length")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def polygon_parts(region: list[list[float]]) -> list[list[float]]:
    """Return the parts of a polygon that have three points or more."""
    return [part for part in region if len(part) >= LEAST_NUMBERS]


def coordinates(part: list[Any], size: tuple[int, int]) -> list[float]:
    """Return the numbers of `part`. pycocotools takes memory by the length of the outline, wherever it runs."""
    reach = 2 * max(size)
    numbers = [float(number) for number in part]
    if not all(math.isfinite(number) and abs(number) <= reach for number in numbers):
        raise ValueError(f"coordinates far outside the picture of {size[1]}x{size[0]}")
    return numbers
