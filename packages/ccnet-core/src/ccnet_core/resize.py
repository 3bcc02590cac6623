"""Bilinear resizing and fitting of bytes with OpenCV's own rounding, so that pictures give mmsegmentation's answers.

OpenCV (imgproc/resize.cpp, INTER_LINEAR on 8 bit) interpolates in fixed point, without antialiasing: weights have 11
bits, the sum of a row drops 4 bits before it meets the vertical weight, and the result drops the other 18.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ccnet_core.fit import Fit

WEIGHT_ONE = 1 << 11

Taps = tuple[Tensor, Tensor, Tensor, Tensor]
"""Per target pixel of an axis the source pixels before and after it, and the weight of each, of `WEIGHT_ONE`."""

STRIP_BYTES = 2**22
"""What is too large to be held whole is computed in strips of rows of this size; a dozen may exist at a time."""


def strips(start: int, stop: int, row_bytes: float, fewest: int = 1) -> Iterator[tuple[int, int]]:
    """Cut the rows from `start` to `stop` into runs of at most `STRIP_BYTES`, but of `fewest` rows at least."""
    step = max(fewest, int(STRIP_BYTES / row_bytes))
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def resize_bytes(picture: Tensor, size: tuple[int, int], start: int = 0, stop: int | None = None) -> Tensor:
    """Resize uint8 (B, C, H, W) to (B, C, *size) and return its rows from `start` to `stop`.

    Equal to `cv2.resize(..., interpolation=cv2.INTER_LINEAR)`. A picture that has this size is not copied.
    """
    height, width = picture.shape[2:]
    stop = size[0] if stop is None else stop
    if (height, width) == size:
        return picture[:, :, start:stop]
    rows, columns = _taps(_centres(height, size[0]), height), _taps(_centres(width, size[1]), width)
    return _resample(picture, tuple(tap[start:stop] for tap in rows), columns, height / size[0])


def fit_bytes(picture: Tensor, crop: tuple[int, int], start: int = 0, stop: int | None = None) -> Tensor:
    """Fit uint8 (B, C, H, W) into `(B, C, *crop)`, black around it, and return its rows from `start` to `stop`.

    The geometry is that of :class:`ccnet_core.fit.Fit`. Pixels are interpolated between their neighbours, outside of
    the picture black ones, without antialiasing, as `cv2.warpAffine` does it; they are within 1 of the exact ones.
    """
    extents = picture.shape[2], picture.shape[3]
    fit = Fit(extents, crop)
    rows, columns = (_taps(fit.in_picture(axis), extents[axis], black_outside=True) for axis in (0, 1))
    return _resample(picture, tuple(tap[start:stop] for tap in rows), columns, 1 / fit.factor)


def _resample(picture: Tensor, rows: tuple[Tensor, ...], columns: Taps, step: float) -> Tensor:
    """Compute the target pixels that the taps describe; target rows are `step` source rows apart."""
    batch, channels = picture.shape[:2]
    resampled = picture.new_empty(batch, channels, len(rows[0]), len(columns[0]))
    # A strip reads `step` as many rows as it writes, as int32.
    row_bytes = batch * channels * len(columns[0]) * 4 * max(1, step)
    for first, last in strips(0, len(rows[0]), row_bytes):
        resampled[:, :, first:last] = _resample_strip(picture, [tap[first:last] for tap in rows], columns)
    return resampled


def _resample_strip(picture: Tensor, rows: list[Tensor], columns: Taps) -> Tensor:
    """Compute the target rows that `rows` describes: int32, from 0 to 255."""
    device = picture.device
    first, last = int(rows[0][0]), int(rows[1][-1]) + 1
    left, right, left_weight, right_weight = (tap.to(device) for tap in columns)
    source = picture[:, :, first:last]
    mixed = source[..., left].int() * left_weight + source[..., right].int() * right_weight
    top, bottom = (rows[0] - first).to(device), (rows[1] - first).to(device)
    top_weight, bottom_weight = (weight.to(device)[:, None] for weight in rows[2:])
    upper = (mixed[..., top, :] >> 4) * top_weight >> 16
    lower = (mixed[..., bottom, :] >> 4) * bottom_weight >> 16
    return (upper + lower + 2) >> 2


def _centres(extent: int, target: int) -> Tensor:
    """Return where the target pixels lie in the source, on the CPU, because not every device has float64."""
    return ((torch.arange(target, dtype=torch.float64, device="cpu") + 0.5) * (extent / target) - 0.5).float()


def _taps(centres: Tensor, extent: int, *, black_outside: bool = False) -> Taps:
    """Return the taps of target pixels at `centres` of a source of `extent`, beyond which its last pixel goes on."""
    before = centres.floor()
    weight = ((centres - before) * WEIGHT_ONE).round().int()
    pixels = [before.long(), before.long() + 1]
    weights = [WEIGHT_ONE - weight, weight]
    if black_outside:
        weights = [part * ((place >= 0) & (place < extent)) for part, place in zip(weights, pixels, strict=True)]
    left, right = (place.clamp(0, extent - 1) for place in pixels)
    return left, right, weights[0], weights[1]
