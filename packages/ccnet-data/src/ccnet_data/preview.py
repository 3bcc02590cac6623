"""A contact sheet of a dataset: each picture beside its labels, and the colours of the classes below."""

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import DataError
from .files import write_bytes
from .overlay import hatch, view
from .sample import IGNORE_INDEX, Colour, SegmentationDataset

SIDE = 320
"""Longer side of a picture on the sheet, in pixels."""
WIDTH = 1400
"""Of a row of samples, at most, in pixels."""
GAP, MARGIN, LINE = 4, 20, 22
SWATCH = 14
MANY_CLASSES = 32
"""With more classes than this the legend shows those alone that occur on the sheet."""
PAPER, INK = (255, 255, 255), (20, 20, 20)


def save_preview(dataset: SegmentationDataset, file: Path, count: int, seed: int | None = None) -> None:
    """Write the contact sheet of `dataset` to the PNG `file`; its folders are made.

    Raises DataError for another suffix than .png, and where it cannot be written; nothing is left then.
    """
    if file.suffix.lower() != ".png":
        raise DataError(f"{file}: a preview is a PNG; give a name that ends in .png.")
    stream = BytesIO()
    contact_sheet(dataset, count, seed).save(stream, format="PNG")
    try:
        write_bytes(file, stream.getvalue())
    except OSError as error:
        raise DataError(f"{file}: cannot be written ({error.strerror}); choose another place, or mend this.") from error


def contact_sheet(dataset: SegmentationDataset, count: int, seed: int | None = None) -> Image.Image:
    """Return an RGB picture: `count` samples, at most all, each as picture and overlay, above the legend.

    The samples are evenly spread over `dataset`, or drawn by chance with a `seed`; they keep their order.
    """
    labels: set[int] = set()
    cells = []
    for index in _chosen(len(dataset), count, seed):
        sample = dataset[index]
        seen = view(sample, dataset, SIDE)
        labels |= seen.labels
        clip = f" (last of {len(sample['image'])} frames)" if dataset.task == "video" else ""
        cells.append(_cell(sample["id"] + clip, seen.picture, seen.overlay))
    rows = _rows(cells)
    return _stacked([rows, _legend(_entries(dataset, labels), rows.width)])


def _chosen(length: int, count: int, seed: int | None) -> list[int]:
    if length == 0:
        raise DataError("The dataset holds no samples, so there is nothing to show.")
    if seed is None:
        return sorted({round(place) for place in np.linspace(0, length - 1, min(count, length)).tolist()})
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(length, min(count, length), replace=False).tolist())


def _cell(title: str, picture: Image.Image, overlay: Image.Image) -> Image.Image:
    cell = Image.new("RGB", (2 * picture.width + GAP, picture.height + LINE), PAPER)
    cell.paste(picture, (0, LINE))
    cell.paste(overlay, (picture.width + GAP, LINE))
    ImageDraw.Draw(cell).text((0, 2), _shortened(title, cell.width), fill=INK, font=_font())
    return cell


def _rows(cells: Sequence[Image.Image]) -> Image.Image:
    """Return the cells one after another, as many to a row as `WIDTH` has room for."""
    places = []
    left = top = bottom = 0
    for cell in cells:
        if left + cell.width > WIDTH:
            left, top = 0, bottom
        places.append((left, top))
        left, bottom = left + cell.width + MARGIN, max(bottom, top + cell.height + MARGIN)
    width = max(x + cell.width for (x, _), cell in zip(places, cells, strict=True))
    rows = Image.new("RGB", (width, bottom - MARGIN), PAPER)
    for place, cell in zip(places, cells, strict=True):
        rows.paste(cell, place)
    return rows


def _stacked(parts: Sequence[Image.Image]) -> Image.Image:
    width = max(part.width for part in parts)
    sheet = Image.new("RGB", (width + 2 * MARGIN, sum(part.height + MARGIN for part in parts) + MARGIN), PAPER)
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    return sheet


def _entries(dataset: SegmentationDataset, labels: set[int]) -> list[tuple[str, Colour | None]]:
    """Return the names and colours of the legend; what has no colour is hatched."""
    few = len(dataset.classes) <= MANY_CLASSES
    named = list(zip(dataset.classes, dataset.palette, strict=True))
    entries: list[tuple[str, Colour | None]] = [entry for number, entry in enumerate(named) if few or number in labels]
    if IGNORE_INDEX in labels:
        entries.append(("crowd" if dataset.task == "instances" else "ignored", None))
    return entries


def _legend(entries: Sequence[tuple[str, Colour | None]], width: int) -> Image.Image:
    """Return the entries in columns, each read from top to bottom."""
    widest = max(_font().getlength(name) for name, _ in entries)
    step = min(width, SWATCH + 3 * GAP + round(widest) + MARGIN)
    rows = -(-len(entries) // (width // step))
    legend = Image.new("RGB", (width, rows * LINE), PAPER)
    draw = ImageDraw.Draw(legend)
    for number, (name, colour) in enumerate(entries):
        x, y = number // rows * step, number % rows * LINE
        legend.paste(_swatch(colour), (x, y + 4))
        draw.text((x + SWATCH + 2 * GAP, y + 2), _shortened(name, step - SWATCH - 2 * GAP), fill=INK, font=_font())
    return legend


def _swatch(colour: Colour | None) -> Image.Image:
    square = np.full((SWATCH, SWATCH, 3), PAPER if colour is None else colour, np.uint8)
    swatch = Image.fromarray(hatch(square, np.full(square.shape[:2], colour is None)))
    ImageDraw.Draw(swatch).rectangle((0, 0, SWATCH - 1, SWATCH - 1), outline=INK)
    return swatch


def _shortened(text: str, width: int) -> str:
    """Return `text` with as much taken out of its middle as makes it fit `width` pixels."""
    kept = text
    for left in range(len(text) - 1, 0, -1):
        if _font().getlength(kept) <= width:
            break
        kept = f"{text[: -(-left // 2)]}…{text[len(text) - left // 2 :]}"
    return kept


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=14)
