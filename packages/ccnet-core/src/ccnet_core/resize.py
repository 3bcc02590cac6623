"""Bilinear resizing of bytes with OpenCV's own rounding, so that resized pictures give mmsegmentation's answers.

OpenCV (imgproc/resize.cpp, INTER_LINEAR on 8 bit) interpolates in fixed point, without antialiasing: weights have 11
bits, the sum of a row drops 4 bits before it meets the vertical weight, and the result drops the other 18.
"""

import torch
from torch import Tensor

WEIGHT_ONE = 1 << 11


def resize_bytes(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 (B, C, H, W) to (B, C, *size); equal to `cv2.resize(..., interpolation=cv2.INTER_LINEAR)`."""
    height, width = picture.shape[2:]
    if (height, width) == size:
        return picture
    left, right, weight = _taps(width, size[1], picture.device)
    left, right = left.clamp(0, width - 1), right.clamp(0, width - 1)
    pixels = picture.int()
    rows = pixels[..., left] * (WEIGHT_ONE - weight) + pixels[..., right] * weight
    top, bottom, weight = _taps(height, size[0], picture.device)
    top, bottom = top.clamp(0, height - 1), bottom.clamp(0, height - 1)
    weight = weight[:, None]
    upper = (rows[..., top, :] >> 4) * (WEIGHT_ONE - weight) >> 16
    lower = (rows[..., bottom, :] >> 4) * weight >> 16
    return ((upper + lower + 2) >> 2).to(torch.uint8)


def _taps(extent: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return, per target pixel, the source pixels before and after it and the weight of the latter, of 2048."""
    centre = (torch.arange(target, device=device, dtype=torch.float64) + 0.5) * (extent / target) - 0.5
    before = centre.float().floor()
    weight = ((centre.float() - before) * WEIGHT_ONE).round()
    return before.long(), before.long() + 1, weight.int()
