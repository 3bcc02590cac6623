"""A picture and its labels, drawn together."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..sample import Colour, Pixels
from .outfit import scaled

FINE = 3
"""The picture is drawn so many times larger, then averaged; a pixel's label is that of its middle."""
LINE = 0.025
"""Half-width of the darker outline of a shape, in heads."""
OUTLINE_SHADE = 0.6

Outline = NDArray[np.complex128]

CIRCLE: Outline = np.exp(2j * np.pi * np.arange(32) / 32)


class Canvas:
    """Shapes over a `background` picture; each has a colour and, but for details, a class.

    `scale` takes a length of the figure to pixels and turns it, `origin` is the pixel of the figure's point 0.
    """

    def __init__(self, background: Image.Image, scale: complex, origin: complex) -> None:
        large = (FINE * background.width, FINE * background.height)
        self._scale, self._origin = FINE * scale, FINE * origin
        self._picture = background.resize(large, Image.Resampling.BILINEAR)
        self._label = Image.new("L", large)
        self._brush, self._pen = ImageDraw.Draw(self._picture), ImageDraw.Draw(self._label)

    def shape(self, outline: Iterable[complex], colour: Colour, part: int) -> None:
        """Fill an outline of points."""
        points, width = self._pixels(np.fromiter(outline, complex)), max(1, round(2 * LINE * abs(self._scale)))
        self._pen.polygon(points, fill=part)
        self._brush.polygon(points, fill=colour, outline=scaled(colour, OUTLINE_SHADE), width=width)

    def detail(self, outline: Iterable[complex], colour: Colour) -> None:
        """Paint over the picture and leave the labels."""
        self._brush.polygon(self._pixels(np.fromiter(outline, complex)), fill=colour)

    def limb(self, joints: Sequence[complex], radii: Sequence[float], colour: Colour, part: int) -> None:
        """Draw what is round at each joint, with its radius there, and straight between them."""
        for piece in _pieces(joints, radii):
            self._pen.polygon(self._pixels(piece), fill=part)
        for margin, tone in ((0.0, scaled(colour, OUTLINE_SHADE)), (2 * LINE, colour)):
            for piece in _pieces(joints, [radius - margin for radius in radii]):
                self.detail(piece, tone)

    def finished(self) -> tuple[Pixels, Pixels]:
        """Return the picture, uint8 (H, W, 3), and the labels, uint8 (H, W)."""
        middle = FINE // 2
        return np.asarray(self._picture.reduce(FINE)), np.asarray(self._label)[middle::FINE, middle::FINE].copy()

    def _pixels(self, outline: Outline) -> list[tuple[float, float]]:
        placed = outline * self._scale + self._origin
        return list(zip(placed.real.tolist(), placed.imag.tolist(), strict=True))


def ellipse(middle: complex, across: float, down: float, *, turn: float = 0, top: float = 1) -> Outline:
    """Return an ellipse of the radii `across` and `down`, turned by `turn` radians; `top` is the share that is kept."""
    angles = np.pi * np.linspace(-top, top, 33) - np.pi / 2
    around: Outline = middle + (across * np.cos(angles) + 1j * down * np.sin(angles)) * np.exp(1j * turn)
    return around


def _pieces(joints: Sequence[complex], radii: Sequence[float]) -> list[Outline]:
    pieces = [joint + radius * CIRCLE for joint, radius in zip(joints, radii, strict=True)]
    for start, end, first, last in zip(joints, joints[1:], radii, radii[1:], strict=False):
        across = 1j * (end - start) / abs(end - start)
        sides = [start + first * across, end + last * across, end - last * across, start - first * across]
        pieces.append(np.array(sides))
    return pieces
