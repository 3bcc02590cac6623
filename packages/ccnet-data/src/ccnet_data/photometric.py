"""Distortion of colours: brightness, contrast, saturation and hue.

Each function takes and gives float32 (3, H, W), RGB, 0-255, so that a chain of them rounds only once.
"""

import numpy as np
from numpy.typing import NDArray

from .sample import Pixels

Colours = NDArray[np.float32]

BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE_DEGREES = 36.0
"""18 of the 180 steps in which OpenCV counts the full circle."""


def distort(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Return `image`, uint8 (..., 3, H, W), with each distortion applied with probability 0.5, alike to all frames.

    In order: brightness +-32, contrast 0.5-1.5, saturation 0.5-1.5, hue +-36 degrees; contrast moves to the end with
    probability 0.5. All are drawn uniformly. Source: mmsegmentation 1.2.2, PhotoMetricDistortion.
    """
    if image.ndim == 4:
        # No pixel knows its neighbours here, so the frames of a clip are one tall picture.
        tall = distort(image.swapaxes(0, 1).reshape(3, -1, image.shape[3]), rng)
        return np.ascontiguousarray(tall.reshape(3, -1, *image.shape[2:]).swapaxes(0, 1))
    colours = image.astype(np.float32)
    contrast_first = _heads(rng)
    if _heads(rng):
        colours = adjust_brightness(colours, rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    if contrast_first and _heads(rng):
        colours = adjust_contrast(colours, rng.uniform(*CONTRAST))
    if _heads(rng):
        colours = adjust_saturation(colours, rng.uniform(*SATURATION))
    if _heads(rng):
        colours = rotate_hue(colours, rng.uniform(-HUE_DEGREES, HUE_DEGREES))
    if not contrast_first and _heads(rng):
        colours = adjust_contrast(colours, rng.uniform(*CONTRAST))
    return colours.round().astype(np.uint8)


def adjust_brightness(colours: Colours, shift: float) -> Colours:
    """Add `shift` to every channel, kept within 0-255."""
    return _within_range(colours + np.float32(shift))


def adjust_contrast(colours: Colours, gain: float) -> Colours:
    """Multiply every channel by `gain`, kept within 0-255. Black stays, as in mmsegmentation; the mean does not."""
    return _within_range(colours * np.float32(gain))


def adjust_saturation(colours: Colours, gain: float) -> Colours:
    """Multiply the saturation of HSV by `gain`, at most to 1; hue and value stay.

    At constant hue and value, every channel's distance to the value is proportional to the saturation.
    """
    value = colours.max(axis=0)
    chroma = value - colours.min(axis=0)
    most = np.divide(value, chroma, out=np.ones_like(value), where=chroma > 0)
    adjusted: Colours = value - (value - colours) * np.minimum(np.float32(gain), most)
    return adjusted


def rotate_hue(colours: Colours, degrees: float) -> Colours:
    """Turn the hue of HSV by `degrees`; saturation and value stay.

    Source of the way back: the alternative form of HSV to RGB, where channel n is value - chroma * clip(min(k, 4 - k))
    with k = (n + hue / 60) mod 6 and n = 5, 3, 1 for red, green, blue.
    """
    value = colours.max(axis=0)
    chroma = value - colours.min(axis=0)
    sextant = _hue_sextant(colours, value, chroma) + np.float32(degrees / 60)
    k = np.array([5, 3, 1], np.float32)[:, None, None] + sextant
    k -= 6 * np.floor(k / 6)  # the bits of k % 6, with which the whole function takes 1.5 times as long
    rotated: Colours = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return rotated


def _hue_sextant(colours: Colours, value: Colours, chroma: Colours) -> Colours:
    """Return the hue in units of 60 degrees, (H, W); 0 for grey."""
    red, green, blue = colours
    safe = np.where(chroma > 0, chroma, np.float32(1))
    return np.select(
        [value == red, value == green],
        [(green - blue) / safe, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )


def _within_range(colours: Colours) -> Colours:
    clipped: Colours = colours.clip(0, 255)
    return clipped


def _heads(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.5)
