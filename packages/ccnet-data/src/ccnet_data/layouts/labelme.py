"""The shapes that labelme writes, one JSON file per picture, as label maps.

Sources: labelme, labelme/utils/shape.py (what the points of each kind of shape mean) and labelme/label_file.py.
"""

import base64
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..pictures import read_picture
from ..sample import Pixels
from .canvas import Canvas, Corners
from .regions import coordinates

POLYGONS = (None, "", "polygon", "oriented_rectangle")
"""Kinds of shapes whose points are corners. Files of old versions name none."""

KINDS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")


@dataclass(frozen=True, kw_only=True)
class LabelmeLabels:
    """Reads labelme's JSON files; the labels of the shapes are names of `classes`, later shapes cover earlier ones.

    Pixels without a shape are "background" if that is a class, otherwise 255. Groups and flags are not looked at.
    """

    classes: tuple[str, ...]

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Draw the shapes to uint8 (H, W). Raises DataError, beginning with `where`."""
        size, shapes = _parse(content, where)
        canvas = Canvas(size, self.classes, where)
        for number, shape in enumerate(shapes):
            place = f"{where}: shape {number}"
            if not isinstance(shape, dict):
                raise DataError(f"{place} is no object; save the file again with labelme.")
            value = canvas.value(shape.get("label"), place)
            try:
                _draw(canvas, shape, value, place)
            except DataError:
                raise
            except (ValueError, TypeError) as error:
                raise DataError(f"{place} has points that cannot be drawn ({error}); mend or remove it.") from error
        return canvas.label()


def _parse(content: bytes, where: str) -> tuple[tuple[int, int], list[Any]]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable JSON ({error}); save it again with labelme.") from error
    shapes = parsed.get("shapes") if isinstance(parsed, dict) else None
    if not isinstance(shapes, list):
        raise DataError(f"{where}: no labelme file, for it has no list of shapes; save it again with labelme.")
    size = parsed.get("imageHeight"), parsed.get("imageWidth")
    if not all(type(side) is int and side > 0 for side in size):
        raise DataError(f"{where}: imageHeight and imageWidth must say the picture's size; save it again with labelme.")
    return size, shapes


def _draw(canvas: Canvas, shape: dict[str, Any], value: int, where: str) -> None:
    kind, points = shape.get("shape_type"), _points(shape.get("points"), canvas.size)
    # X-AnyLabeling writes all four corners of a rectangle (its issue 1262), labelme two opposite ones.
    if kind in POLYGONS or (kind == "rectangle" and len(points) == 4):
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        canvas.polygon(points, value)
    elif kind == "rectangle":
        (left, top), (right, bottom) = points
        canvas.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], value)
    elif kind == "circle":
        (x, y), rim = points
        radius = math.dist((x, y), rim)
        canvas.ellipse(x - radius, y - radius, x + radius, y + radius, value)
    elif kind == "mask":
        inside = read_picture(base64.b64decode(shape.get("mask", ""), validate=True), where)[0] > 0
        (x, y), _ = points
        canvas.mask(np.ascontiguousarray(inside), (int(x), int(y)), value)
    else:
        raise DataError(f"{where} is a {kind}, which has no area; draw it as one of {', '.join(KINDS)}.")


def _points(points: Any, size: tuple[int, int]) -> Corners:
    flat = coordinates([number for x, y in points for number in (x, y)], size)
    return list(zip(flat[::2], flat[1::2], strict=True))
