"""A label map that shapes are drawn into."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..decode import LARGEST
from ..errors import DataError, nearest
from ..sample import IGNORE_INDEX, Pixels

BACKGROUND = "background"
"""The class of pixels without a shape, where there is a class of this name; without one they are ignored."""

Corners = Sequence[tuple[float, float]]
"""x and y, where pixel (0, 0) reaches from 0 to 1."""


class Canvas:
    """A label map of `size` (height, width) without shapes; those drawn later cover those drawn before.

    Pillow draws, as labelme does: a corner goes to the pixel that holds it, and the outline through those pixels
    belongs to the shape. So boundaries are right to a pixel, and shapes are half a pixel larger on each side than the
    pixels whose centres they hold.
    """

    def __init__(self, size: tuple[int, int], classes: tuple[str, ...], where: str) -> None:
        if size[0] * size[1] > LARGEST:
            raise DataError(f"{where}: a label of {size[1]}x{size[0]} is too large; correct its height and width.")
        empty = classes.index(BACKGROUND) if BACKGROUND in classes else IGNORE_INDEX
        self.size, self.classes = size, classes
        self._picture = Image.new("L", size[::-1], empty)
        self._draw = ImageDraw.Draw(self._picture)

    def value(self, name: object, where: str) -> int:
        """Return the label of the class `name`. Raises DataError, beginning with `where`, if there is none."""
        if name not in self.classes:
            raise DataError(
                f"{where} is of the class {name!r}, which is none of classes.{nearest(str(name), self.classes)}"
            )
        return self.classes.index(str(name))

    def polygon(self, corners: Corners, value: int) -> None:
        """Fill the polygon of two `corners` or more."""
        self._draw.polygon(list(corners), fill=value, outline=value)

    def ellipse(self, left: float, top: float, right: float, bottom: float, value: int) -> None:
        """Fill the ellipse in this box."""
        self._draw.ellipse((left, top, right, bottom), fill=value, outline=value)

    def mask(self, inside: NDArray[np.bool_], corner: tuple[int, int], value: int) -> None:
        """Fill `inside`, bool (h, w), whose first pixel goes to `corner`, (x, y)."""
        self._picture.paste(value, corner, Image.fromarray(inside))

    def label(self) -> Pixels:
        """Return the label map, uint8 (H, W)."""
        return np.array(self._picture)
