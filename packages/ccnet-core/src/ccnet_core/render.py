"""Pictures of results: colours per class, overlays, comparisons and attention. Arrays are uint8 (H, W, 3) RGB."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ccnet_core import files
from ccnet_core.config import Colour
from ccnet_core.text import one_line

Array = NDArray[np.uint8]

GAP = 4
"""Pixels of white between pictures that stand side by side."""

WRONG = (215, 25, 28)
"""Colour of a wrong pixel."""

LINE = 24
"""Pixels from one line of a legend to the next."""

LONGEST_NAME = 40
"""Characters of a class name in a legend."""


def colour_labels(labels: NDArray[np.integer], palette: Sequence[Colour]) -> Array:
    """Paint `labels` (H, W) in the colours of `palette`; labels beyond it, such as 255 (ignored), are black."""
    table = np.zeros((max(256, int(labels.max(initial=0)) + 1), 3), np.uint8)
    table[: len(palette)] = palette
    painted: Array = table[labels]
    return painted


def overlay(picture: Array, labels: NDArray[np.integer], palette: Sequence[Colour], opacity: float = 0.5) -> Array:
    """Lay the class colours over `picture`; `opacity` is from 0 (picture only) to 1 (colours only)."""
    colours = Image.fromarray(colour_labels(labels, palette))
    return np.array(Image.blend(Image.fromarray(picture), colours, opacity))


def label_png(labels: NDArray[np.integer], palette: Sequence[Colour]) -> Image.Image:
    """Return a picture whose pixel values are the classes: with palette, as Pascal VOC stores labels, if uint8.

    Other labels become 16 bit grey.
    """
    if labels.dtype != np.uint8:
        return Image.fromarray(labels.astype(np.uint16))
    image = Image.fromarray(labels, mode="P")
    # All 256 entries: Pillow stores only as many bits a pixel as the palette needs, and 255 would not fit.
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette[:256]
    image.putpalette(table.tobytes())
    return image


def side_by_side(
    picture: Array, truth: NDArray[np.integer], prediction: NDArray[np.integer], palette: Sequence[Colour]
) -> Array:
    """Return picture, truth and prediction in one row. Ignored pixels of the truth are black."""
    return beside([picture, colour_labels(truth, palette), colour_labels(prediction, palette)])


def error_map(
    picture: Array, truth: NDArray[np.integer], prediction: NDArray[np.integer], *, ignore_index: int = 255
) -> Array:
    """Return `picture` in grey with the wrong pixels in red. Ignored pixels of `truth` are black."""
    grey = picture.mean(-1, keepdims=True)
    # Between mid-grey and white, so that neither red nor black is lost in the picture.
    marked: Array = (120 + 0.5 * grey).repeat(3, axis=-1).astype(np.uint8)
    marked[truth != prediction] = WRONG
    marked[truth == ignore_index] = 0
    return marked


def beside(pictures: Sequence[Array]) -> Array:
    """Put pictures of one height in a row, a few white pixels apart."""
    gap = np.full((len(pictures[0]), GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def stack(rows: Sequence[Array]) -> Array:
    """Put rows of pictures under each other, padded with white to the widest."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)[:-GAP]


def attention_picture(
    picture: Array, point: tuple[int, int], maps: Sequence[NDArray[np.float32]], smallest_width: int = 256
) -> Array:
    """Return the picture with a cross at `point` = (x, y), then the picture under each attention map as heat.

    Above each map stands the number of steps R. `maps` are (h, w) as :func:`ccnet_core.attention_map` gives them. A
    small picture is enlarged to `smallest_width` by a whole factor, so that single positions can be told apart.
    """
    panels = attention_panels(picture, point, maps, smallest_width)
    names = ["picture", *(f"R = {step}" for step in range(1, len(panels)))]
    return beside([_titled(panel, name) for panel, name in zip(panels, names, strict=True)])


def attention_panels(
    picture: Array, point: tuple[int, int], maps: Sequence[NDArray[np.float32]], smallest_width: int = 256
) -> list[Array]:
    """Return the parts of :func:`attention_picture`, without titles."""
    factor = max(1, -(-smallest_width // picture.shape[1]))
    picture = enlarge(picture, factor)
    x, y = (int((coordinate + 0.5) * factor) for coordinate in point)
    return [_mark(array, x, y) for array in (picture, *(_heat(picture, map_) for map_ in maps))]


def enlarge(picture: Array, factor: int) -> Array:
    """Repeat every pixel `factor` times in both directions."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _heat(picture: Array, weights: NDArray[np.float32]) -> Array:
    """Blend a grey `picture` with `weights` (h, w), black to red to yellow to white; the strongest weight is white."""
    size = (picture.shape[1], picture.shape[0])
    # The square root shows weak weights too; the maps are for the eye, the numbers are in the array.
    strength = np.sqrt(weights / max(float(weights.max()), 1e-12)).astype(np.float32)
    strength = np.asarray(Image.fromarray(strength).resize(size, Image.Resampling.NEAREST))
    heat = np.clip(np.stack([3 * strength, 3 * strength - 1, 3 * strength - 2], -1), 0, 1) * 255
    grey = picture.mean(-1, keepdims=True)
    blended: Array = (0.35 * grey + 0.65 * heat).round().astype(np.uint8)
    return blended


def _mark(picture: Array, x: int, y: int) -> Array:
    from PIL import ImageDraw  # imported here: what most commands do needs no drawing

    image, unit = Image.fromarray(picture), max(1, min(picture.shape[:2]) // 256)
    draw = ImageDraw.Draw(image)
    for colour, width in (((0, 0, 0), 3 * unit), ((255, 255, 255), unit)):
        draw.line([(x - 7 * unit, y), (x + 7 * unit, y)], fill=colour, width=width)
        draw.line([(x, y - 7 * unit), (x, y + 7 * unit)], fill=colour, width=width)
    return np.asarray(image)


def _titled(picture: Array, title: str) -> Array:
    from PIL import ImageDraw, ImageFont

    line = max(LINE, picture.shape[1] // 24)
    image = Image.new("RGB", (picture.shape[1], line), "white")
    place = (picture.shape[1] / 2, line / 2)
    ImageDraw.Draw(image).text(place, title, fill="black", font=ImageFont.load_default(line * 0.7), anchor="mm")
    return np.concatenate([np.asarray(image), picture])


def legend(
    classes: Sequence[str], palette: Sequence[Colour], *, shown: Sequence[int] | None = None, width: int = 600
) -> Array:
    """Return a picture `width` wide with colour, number and name of the classes `shown`, by default of all.

    They stand in as many columns as fit, from top to bottom. A long name is cut. Pillow's font has the letters of
    English only; the number tells which class another name is.
    """
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(LINE * 0.6)
    labels = range(len(classes)) if shown is None else shown
    names = [f"{label}  {_cut(one_line(classes[label]))}" for label in labels]
    widest = max((font.getlength(name) for name in names), default=0)
    columns = max(1, int(width // (widest + 2 * LINE)))
    rows = -(-len(names) // columns)
    image = Image.new("RGB", (width, max(1, rows) * LINE), "white")
    draw = ImageDraw.Draw(image)
    for place, (label, name) in enumerate(zip(labels, names, strict=True)):
        column, row = divmod(place, rows)
        x, y = column * width // columns, row * LINE
        draw.rectangle((x, y + 3, x + LINE, y + LINE - 4), fill=palette[label], outline="grey")
        draw.text((x + LINE * 1.4, y + LINE / 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(image)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def png(picture: Array | Image.Image) -> bytes:
    """Return the content of a PNG file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def write_png(path: str | Path, picture: Array | Image.Image) -> None:
    """Write a PNG beside its place and rename it."""
    files.write_bytes(path, png(picture))
