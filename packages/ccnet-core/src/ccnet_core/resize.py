"""Bilinear resizing of bytes with OpenCV's own rounding, so that resized pictures give mmsegmentation's answers.

OpenCV (imgproc/resize.cpp, INTER_LINEAR on 8 bit) interpolates in fixed point, without antialiasing: weights have 11
bits, the sum of a row drops 4 bits before it meets the vertical weight, and the result drops the other 18.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

WEIGHT_ONE = 1 << 11

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
    batch, channels, height, width = picture.shape
    stop = size[0] if stop is None else stop
    if (height, width) == size:
        return picture[:, :, start:stop]
    rows, columns = _taps(height, size[0]), _taps(width, size[1])
    resized = picture.new_empty(batch, channels, stop - start, size[1])
    # A strip reads `height / size[0]` as many rows as it writes, as int32.
    row_bytes = batch * channels * size[1] * 4 * max(1, height / size[0])
    for first, last in strips(start, stop, row_bytes):
        resized[:, :, first - start : last - start] = _resize_strip(picture, [tap[first:last] for tap in rows], columns)
    return resized


def _resize_strip(picture: Tensor, rows: list[Tensor], columns: list[Tensor]) -> Tensor:
    """Compute the target rows that `rows` describes: int32, from 0 to 255."""
    device = picture.device
    first, last = int(rows[0][0]), int(rows[1][-1]) + 1
    left, right, weight = (tap.to(device) for tap in columns)
    source = picture[:, :, first:last]
    mixed = source[..., left].int() * (WEIGHT_ONE - weight) + source[..., right].int() * weight
    top, bottom, weight = (rows[0] - first).to(device), (rows[1] - first).to(device), rows[2].to(device)[:, None]
    upper = (mixed[..., top, :] >> 4) * (WEIGHT_ONE - weight) >> 16
    lower = (mixed[..., bottom, :] >> 4) * weight >> 16
    return (upper + lower + 2) >> 2


def _taps(extent: int, target: int) -> list[Tensor]:
    """Return, per target pixel, the source pixels before and after it and the weight of the latter, of 2048.

    On the CPU, because not every device has float64.
    """
    centre = (torch.arange(target, dtype=torch.float64, device="cpu") + 0.5) * (extent / target) - 0.5
    before = centre.float().floor()
    weight = ((centre.float() - before) * WEIGHT_ONE).round()
    return [before.long().clamp(0, extent - 1), (before.long() + 1).clamp(0, extent - 1), weight.int()]
