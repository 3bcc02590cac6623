"""Distortion of colours: brightness, contrast, saturation and hue.

Each function takes and gives float32 (3, ...), RGB, 0-255, so that a chain of them rounds only once.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .sample import Pixels

Colours = NDArray[np.float32]
Change = Callable[[Colours, float], Colours]

BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE_DEGREES = 36.0
"""18 of the 180 steps in which OpenCV counts the full circle."""

_BLOCK = 2**14
"""Pixels that are changed at a time: what a block takes stays in the cache, and the chain takes 0.7 of the time."""
_OWN_HUES = np.array([0, 2, 4])
"""Of red, green and blue, in units of 60 degrees."""
_LEAST_CHROMA = np.float32(1e-6)


def distort(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Return `image`, uint8 (..., 3, H, W), with each distortion applied with probability 0.5, alike to all frames.

    In order: brightness +-32, contrast 0.5-1.5, saturation 0.5-1.5, hue +-36 degrees; contrast moves to the end with
    probability 0.5. All are drawn uniformly. Source: mmsegmentation 1.2.2, PhotoMetricDistortion.
    """
    changes = draw_changes(rng)
    frames = image.reshape(-1, 3, image.shape[-2] * image.shape[-1])
    distorted = np.empty_like(frames)
    for frame, result in zip(frames, distorted, strict=True):
        for start in range(0, frame.shape[1], _BLOCK):
            block = np.s_[:, start : start + _BLOCK]
            colours = frame[block].astype(np.float32)
            for change, amount in changes:
                colours = change(colours, amount)
            result[block] = colours.round()
    return distorted.reshape(image.shape)


def draw_changes(rng: np.random.Generator) -> list[tuple[Change, float]]:
    """Draw what `distort` does, in order: functions of colours and of an amount, and the amounts."""
    changes: list[tuple[Change, float]] = []
    contrast_first = _heads(rng)
    if _heads(rng):
        changes.append((adjust_brightness, rng.uniform(-BRIGHTNESS, BRIGHTNESS)))
    if contrast_first and _heads(rng):
        changes.append((adjust_contrast, rng.uniform(*CONTRAST)))
    if _heads(rng):
        changes.append((adjust_saturation, rng.uniform(*SATURATION)))
    if _heads(rng):
        changes.append((rotate_hue, rng.uniform(-HUE_DEGREES, HUE_DEGREES)))
    if not contrast_first and _heads(rng):
        changes.append((adjust_contrast, rng.uniform(*CONTRAST)))
    return changes


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
    value, least = _extremes(colours)
    most = value / np.maximum(value - least, _LEAST_CHROMA)
    distances: Colours = value - colours
    distances *= np.minimum(np.float32(gain), most)
    return np.subtract(value, distances, out=distances)


def rotate_hue(colours: Colours, degrees: float) -> Colours:
    """Turn the hue of HSV by `degrees`; saturation and value stay.

    Hues are distances around the circle of colours in units of 60 degrees, all times chroma, so that nothing is divided
    and no pixel takes a way of its own. A channel is the value up to 1 from its own hue, the least from 2 on, and falls
    in between. The hue is -3 to 3 from red and has the sign of green - blue; its size follows from the same rule.
    """
    value, least = _extremes(colours)
    chroma = value - least
    red, green, blue = colours
    hue = np.copysign(2 * chroma - value - red + green + blue, green - blue)
    # From the hue opposite to a channel's own; the sum is -6 to 6, so that | |.| - 3 | is the way to its own.
    turns = ((degrees / 60 + 6 - _OWN_HUES) % 6 - 3).astype(np.float32)
    away: Colours = turns.reshape(3, *[1] * chroma.ndim) * chroma
    away += hue
    np.abs(away, out=away)
    away -= 3 * chroma
    np.abs(away, out=away)
    rotated = np.subtract(value + chroma, away, out=away)
    np.maximum(rotated, least, out=rotated)
    return np.minimum(rotated, value, out=rotated)


def _extremes(colours: Colours) -> tuple[Colours, Colours]:
    """Return the largest and the least channel of each pixel."""
    red, green, blue = colours
    return np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)


def _within_range(colours: Colours) -> Colours:
    return np.clip(colours, 0, 255, out=colours)


def _heads(rng: np.random.Generator) -> bool:
    return bool(rng.random() < 0.5)
