"""Class names and their colours, as a user gives them."""

import colorsys
from pathlib import Path
from typing import Annotated

from .errors import DataError
from .options import Option, several, text, whole_number
from .sample import IGNORE_INDEX, Colour

CLASSES_FILE = "classes.txt"


def read_classes(value: object) -> tuple[str, ...]:
    """Read a list of 1 to 255 different class names; 255 as a label is taken by ignored pixels."""
    names: tuple[str, ...] = several(text)(value)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"must be different names, but {', '.join(repeated)} comes more than once.")
    if not 1 <= len(names) <= IGNORE_INDEX:
        raise DataError(f"must hold 1 to {IGNORE_INDEX} names, got {len(names)}.")
    return names


ClassesOption = Annotated[
    tuple[str, ...] | None,
    Option(read_classes, "class names in the order of the label values, or ROOT/classes.txt"),
]
PaletteOption = Annotated[
    tuple[Colour, ...] | None,
    Option(several(several(whole_number(0, 255), count=3)), "one [red, green, blue] per class; chosen if not given"),
]


def resolve(
    classes: tuple[str, ...] | None, palette: tuple[Colour, ...] | None, root: Path | None
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return the class names and one colour each.

    Without `classes` the names are the lines of `root`/classes.txt; without `palette` the colours are chosen here.
    Raises DataError when names are found nowhere or the two have different lengths.
    """
    names = classes if classes is not None else _listed_classes(root)
    if palette is None:
        return names, default_palette(len(names))
    if len(palette) != len(names):
        raise DataError(f"palette has {len(palette)} colours for {len(names)} classes: give one [r, g, b] per class.")
    return names, palette


def _listed_classes(root: Path | None) -> tuple[str, ...]:
    file = None if root is None else root / CLASSES_FILE
    if file is None or not file.is_file():
        place = "" if file is None else f", or write them to {file}, one per line"
        raise DataError(f"classes is missing: give classes=[...] in the order of the label values{place}.")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        return read_classes([line.strip() for line in lines if line.strip()])
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: class names {error}") from error


def default_palette(count: int) -> tuple[Colour, ...]:
    """Return `count` different RGB colours, 0-255: hues 0.29 of a turn apart, strength and lightness in turns.

    Of 396 such combinations this one keeps 11 and 19 colours among the furthest apart: 139 and 119 in the "redmean"
    distance, where the colours of PASCAL VOC after black have 93.
    """
    return tuple(_colour(index) for index in range(count))


def _colour(index: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(index * 0.29 % 1, (1, 0.5)[index % 2], (0.95, 0.55, 0.75)[index % 3])
    return round(red * 255), round(green * 255), round(blue * 255)
