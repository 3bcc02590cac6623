"""Pictures with the objects found in them: masks, boxes, names and scores. Arrays are uint8 (H, W, 3) RGB."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ccnet_core.config import Colour
from ccnet_core.render import Array, enlarge
from ccnet_core.text import one_line
from ccnet_train.detection.detections import Detections
from ccnet_train.detection.packed import PackedDetections

LONGEST_NAME = 24
"""Characters of a class name beside a box."""

SMALLEST_EDGE = 640
"""A picture whose longer edge is below it is enlarged by a whole factor before it is drawn on."""

Box = tuple[float, float, float, float]

Found = Detections | PackedDetections


@dataclass(frozen=True)
class _Pen:
    """How thick lines and how high letters are, in pixels."""

    line: int
    text: int


def draw_detections(
    picture: Array,
    detections: Found,
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    threshold: float = 0.5,
    opacity: float = 0.5,
) -> Array:
    """Return `picture` (H, W, 3) with the detections that score at least `threshold`, the best on top.

    A mask has the colour of its class, as strong as `opacity` from 0 to 1, and a light rim inside a dark one, as have
    boxes: so they are seen on any ground. Lines and letters grow with the picture; one smaller than a few hundred
    pixels should be enlarged first, see `render.enlarge_detections`.
    """
    shown = detections.above(threshold)
    longest = max(picture.shape[:2])
    pen = _Pen(line=max(1, round(longest / 600)), text=max(12, round(longest / 50)))
    canvas = picture.copy()
    for number in reversed(range(len(shown))):
        _paint(canvas, shown.masks[number], palette[shown.classes[number]], opacity, pen.line)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for box, label in zip(shown.boxes[::-1], shown.classes[::-1], strict=True):
        _frame(draw, box.tolist(), palette[label], pen.line)
    _write_names(draw, shown, classes, palette, pen)
    return np.asarray(image)


def enlarge_detections(picture: Array, detections: Found) -> tuple[Array, Found]:
    """Return both enlarged by the same whole factor, 1 for a picture that is large enough to be drawn on."""
    factor = max(1, SMALLEST_EDGE // max(picture.shape[:2]))
    if factor == 1:
        return picture, detections
    whole = detections.unpack() if isinstance(detections, PackedDetections) else detections
    masks = whole.masks.repeat(factor, axis=1).repeat(factor, axis=2)
    return enlarge(picture, factor), replace(whole, boxes=whole.boxes * factor, masks=masks)


def _paint(canvas: Array, mask: NDArray[np.bool_], colour: Colour, opacity: float, line: int) -> None:
    """Lay `colour` over the pixels of `mask`, and draw its rim."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    area, inside = canvas[part], mask[part]
    area[inside] = ((1 - opacity) * area[inside] + opacity * np.asarray(colour)).round()
    inner = _shrink(inside, line)
    area[inside & ~inner] = 0
    area[inner & ~_shrink(inner, line)] = 255


def _shrink(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return `mask` without the pixels that are so near to its rim."""
    for _ in range(pixels):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _frame(draw: ImageDraw.ImageDraw, box: list[float], colour: Colour, line: int) -> None:
    """Draw a box in `colour` between a dark and a light line."""
    left, top, right, bottom = (round(edge) for edge in box)
    for inset, tone in ((0, (0, 0, 0)), (line, (255, 255, 255)), (2 * line, colour)):
        place = (left + inset, top + inset, right - 1 - inset, bottom - 1 - inset)
        if place[2] > place[0] and place[3] > place[1]:
            draw.rectangle(place, outline=tone, width=line)


def _write_names(
    draw: ImageDraw.ImageDraw, shown: Found, classes: Sequence[str], palette: Sequence[Colour], pen: _Pen
) -> None:
    """Write name and score beside each box, the best first: it has the choice of places."""
    font, taken = ImageFont.load_default(pen.text), list[Box]()
    for box, label, score in zip(shown.boxes.tolist(), shown.classes, shown.scores, strict=True):
        text = f"{_cut(one_line(classes[label]))} {score:.2f}"
        size = (draw.textlength(text, font) + pen.text * 0.6, pen.text * 1.4)
        place = _free_place(box, size, draw.im.size, taken)
        taken.append(place)
        dark = np.dot(palette[label], (0.299, 0.587, 0.114)) < 140  # brightness, as ITU-R BT.601 weighs it
        draw.rectangle(place, fill=palette[label], outline="white" if dark else "black")
        middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        draw.text(middle, text, fill="white" if dark else "black", font=font, anchor="mm")


def _free_place(box: list[float], size: tuple[float, float], picture: tuple[int, int], taken: Sequence[Box]) -> Box:
    """Return where in the picture a text of this size covers no other: above the box, in it, below it, else above."""
    left, top, right, bottom = box
    corners = [(left, top - size[1]), (left, top), (right - size[0], top), (left, bottom), (left, bottom - size[1])]
    places = []
    for x, y in corners:
        x, y = (max(0.0, min(start, edge - length)) for start, edge, length in zip((x, y), picture, size, strict=True))
        places.append((x, y, x + size[0], y + size[1]))
    return next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
