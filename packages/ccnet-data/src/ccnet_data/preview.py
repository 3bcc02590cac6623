"""A contact sheet of a dataset: each picture beside its labels, and the colours of the classes below."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import DataError
from .pictures import channels_last
from .sample import Colour, Pixels, Sample, SegmentationDataset

CELL = 240
"""Longer side of a picture on the sheet, in pixels."""
GAP, LINE = 8, 20
COLUMNS = 2
PAPER, INK = (255, 255, 255), (20, 20, 20)
LABEL_WEIGHT = 0.6
"""Share of the class colour in the overlay; the rest is the picture."""


def save_preview(dataset: SegmentationDataset, count: int, file: Path) -> None:
    """Write a sheet of `count` samples, evenly spread over `dataset`, to the PNG `file`; its folders are made.

    The sheet is written beside its place and renamed. Raises DataError for another suffix than .png.
    """
    if file.suffix.lower() != ".png":
        raise DataError(f"{file}: a preview is a PNG; give a name that ends in .png.")
    sheet = contact_sheet(dataset, count)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        sheet.save(unfinished, format="PNG")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def contact_sheet(dataset: SegmentationDataset, count: int) -> Image.Image:
    """Return an RGB picture: `count` samples (at most all) as picture and overlay, two to a row, above the legend."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    cells = [_cell(dataset[int(index)], dataset.palette) for index in chosen]
    width = GAP + COLUMNS * (2 * CELL + 2 * GAP)
    row_height = max(cell.height for cell in cells) + GAP
    rows = -(-len(cells) // COLUMNS)
    legend = _legend(dataset, width - 2 * GAP)
    sheet = Image.new("RGB", (width, GAP + rows * row_height + legend.height + GAP), PAPER)
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        sheet.paste(cell, (GAP + column * (2 * CELL + 2 * GAP), GAP + row * row_height))
    sheet.paste(legend, (GAP, GAP + rows * row_height))
    return sheet


def overlay(image: Pixels, label: Pixels, palette: tuple[Colour, ...]) -> Pixels:
    """Return `image`, uint8 (3, H, W), tinted with the class colours of `label`; ignored pixels stay as they are."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    weight = np.zeros(256, np.float32)
    weight[: len(palette)] = LABEL_WEIGHT
    tint = colours[label].transpose(2, 0, 1)
    mixed = image + weight[label] * (tint - image)
    return mixed.round().astype(np.uint8)


def _cell(sample: Sample, palette: tuple[Colour, ...]) -> Image.Image:
    picture = _fit(sample["image"])
    labels = _fit(overlay(sample["image"], sample["label"], palette))
    cell = Image.new("RGB", (2 * CELL + GAP, picture.height + LINE), PAPER)
    cell.paste(picture, (0, LINE))
    cell.paste(labels, (CELL + GAP, LINE))
    ImageDraw.Draw(cell).text((0, 2), _shortened(sample["id"], 2 * CELL), fill=INK, font=_font())
    return cell


def _fit(image: Pixels) -> Image.Image:
    picture = channels_last(image)
    factor = CELL / max(picture.size)
    # Enlarged pixels stay square, so that a small label map can be checked pixel by pixel.
    method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), method)


def _legend(dataset: SegmentationDataset, width: int) -> Image.Image:
    entries = [*zip(dataset.classes, dataset.palette, strict=True), ("ignored (255): not tinted", PAPER)]
    columns = 4
    column_width = width // columns
    legend = Image.new("RGB", (width, LINE * -(-len(entries) // columns)), PAPER)
    draw = ImageDraw.Draw(legend)
    for number, (name, colour) in enumerate(entries):
        y, x = LINE * (number // columns), column_width * (number % columns)
        draw.rectangle((x, y + 3, x + 14, y + 17), fill=colour, outline=INK)
        draw.text((x + 20, y + 2), _shortened(name, column_width - 24), fill=INK, font=_font())
    return legend


def _shortened(text: str, width: int) -> str:
    while text and _font().getlength(text) > width:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
    return text


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
