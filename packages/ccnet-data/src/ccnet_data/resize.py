"""Areas of resized pictures and labels, computed alone and with the bits of the whole. Sizes are (height, width)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .sample import Pixels

Size = tuple[int, int]
Area = tuple[slice, slice]
"""Rows and columns of a picture."""

Places = NDArray[np.intp]
Rows = NDArray[np.float32]

_BLOCK = 2**14
"""Pixels between rows that are held at a time, so that they stay in the cache: a third less time than all at once."""

_INSIDE: Final = "wrap"
"""What numpy does about places outside. There are none, and this takes 0.7 of the time of looking for them."""


def resize_label(label: Pixels, size: Size, area: Area) -> Pixels:
    """Return `area` of (H, W) resized to `size`, as (h, w): each pixel is the one that its centre falls on."""
    rows, columns = (
        _nearest(extent, wanted, part) for extent, wanted, part in zip(label.shape, size, area, strict=True)
    )
    return label[rows].take(columns, axis=1, mode=_INSIDE)


def resize_masks(masks: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Return (N, H, W) resized to `size`, as (N, h, w): each pixel is the one that its centre falls on."""
    rows, columns = (
        _nearest(extent, wanted, slice(0, wanted)) for extent, wanted in zip(masks.shape[1:], size, strict=True)
    )
    return masks.take(rows, axis=1, mode=_INSIDE).take(columns, axis=2, mode=_INSIDE)


def _nearest(extent: int, wanted: int, part: slice) -> Places:
    """Return floor((i + 0.5) * extent / wanted) for every i of `part`, in whole numbers."""
    return (2 * np.arange(part.start, part.stop) + 1) * extent // (2 * wanted)


def resize_crop(image: Pixels, size: Size, area: Area) -> Pixels:
    """Return `area` of (..., 3, H, W) resized to `size` by bilinear interpolation in float32, rounded down.

    Only the area is computed. As in OpenCV, four pixels are mixed whatever the size: values are at most 1 from
    OpenCV's, which rounds to the nearest.
    """
    *leading, height, width = image.shape
    if (height, width) == size:
        return image[..., *area].copy()
    planes = image.reshape(-1, height, width)
    above, below, downwards = _between(height, size[0], area[0])
    left, right, rightwards = _between(width, size[1], area[1])
    seen = slice(left[0], right[-1] + 1)
    left, right = left - seen.start, right - seen.start
    resized = np.empty((len(planes), len(above), len(left)), np.uint8)
    step = max(1, _BLOCK // (seen.stop - seen.start))
    for start in range(0, len(above), step):
        rows = slice(start, start + step)
        upper, lower = (planes[:, places[rows], seen].astype(np.float32) for places in (above, below))
        between = _mix(upper, lower, downwards[rows, None])
        first, second = (between.take(places, axis=2, mode=_INSIDE) for places in (left, right))
        resized[:, rows] = _mix(first, second, rightwards)
    return resized.reshape(*leading, *resized.shape[1:])


def _between(extent: int, wanted: int, part: slice) -> tuple[Places, Places, Rows]:
    """Return which two of `extent` pixels each of `part` of `wanted` lies between, and how far from the first, 0 to 1.

    The place (i + 0.5) * extent / wanted - 0.5 is reckoned in whole numbers; beyond the outer centres it is theirs.
    """
    places = (2 * np.arange(part.start, part.stop) + 1) * extent - wanted
    first, rest = np.divmod(places.clip(0, 2 * wanted * (extent - 1)), 2 * wanted)
    return first, np.minimum(first + 1, extent - 1), (rest / (2 * wanted)).astype(np.float32)


def _mix(one: Rows, other: Rows, share: Rows) -> Rows:
    """Return one + (other - one) * share, which keeps what is equal in both as it is."""
    mixed = other - one
    mixed *= share
    mixed += one
    return mixed
