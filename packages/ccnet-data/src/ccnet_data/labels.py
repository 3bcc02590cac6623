"""How the bytes of a label file become class indices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import OutsideClassesError, enumerate_some
from .pictures import read_colours, read_indices
from .sample import IGNORE_INDEX, Colour, Pixels

LabelReader = Callable[[bytes, str], Pixels]
"""Returns uint8 (H, W) of (content, where). Raises DataError, beginning with `where`."""

_UNKNOWN = 256


@dataclass(frozen=True, kw_only=True)
class ClassLabels:
    """Reads label maps whose values are the classes 0 to `count` - 1, and 255 where ignored."""

    count: int

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Decode `content` to uint8 (H, W). Raises DataError, beginning with `where`."""
        label = read_indices(content, where)
        require_classes(label, self.count, where)
        return label


@dataclass(frozen=True, kw_only=True)
class MappedLabels:
    """Reads label maps whose values `classes` maps to classes, or to 255 where ignored; others are refused."""

    classes: Mapping[int, int]
    _table: NDArray[np.uint16] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.full(256, _UNKNOWN, np.uint16)
        table[list(self.classes)] = list(self.classes.values())
        object.__setattr__(self, "_table", table)

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Decode `content` to uint8 (H, W). Raises DataError, beginning with `where`."""
        raw = read_indices(content, where)
        label = self._table.take(raw)
        if label.max() == _UNKNOWN:
            unknown = [value for value in _values(raw) if self._table[value] == _UNKNOWN]
            raise OutsideClassesError(
                f"{where}: label values {enumerate_some(unknown)} do not occur in this dataset; "
                "fetch the published labels again, and leave them unconverted."
            )
        return label.astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class ColourLabels:
    """Reads label maps in colours, which `classes` maps to classes, or to 255 where ignored.

    Other colours are ignored in up to `stray` pixels of a label, and refused in more.
    """

    classes: Mapping[Colour, int]
    stray: int = 0

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Decode `content` to uint8 (H, W). Raises DataError, beginning with `where`."""
        red, green, blue = read_colours(content, where).astype(np.uint32)
        codes = red << 16 | green << 8 | blue
        entries = _colour_table(tuple(self.classes.items()))[codes]
        if np.count_nonzero(entries == 0) > self.stray:
            unknown, counts = np.unique(codes[entries == 0], return_counts=True)
            pixels = [f"#{code:06x} ({count} pixels)" for code, count in zip(unknown, counts, strict=True)]
            raise OutsideClassesError(
                f"{where}: {len(pixels)} colours do not occur in this dataset: {enumerate_some(pixels)}. "
                "Map each colour to a class; where edges were blended, export the label without smoothing."
            )
        # Without a class the entry is 0, and 65535 after this, which as a byte is 255: ignored.
        label: Pixels = (entries - 1).astype(np.uint8)
        return label


@lru_cache(maxsize=4)
def _colour_table(classes: tuple[tuple[Colour, int], ...]) -> NDArray[np.uint16]:
    """Return class + 1 of each 24-bit colour, 0 where it has none: 32 MB, and 2.7 times as fast as a search.

    It is kept here instead of in the reader, so that readers travel to other processes without it.
    """
    table = np.zeros(2**24, np.uint16)
    for (red, green, blue), number in classes:
        table[red << 16 | green << 8 | blue] = number + 1
    return table


def require_classes(label: Pixels, count: int, where: str) -> None:
    """Raise OutsideClassesError, beginning with `where`, unless all values are 0 to `count` - 1, or 255."""
    # One more makes 255 of a byte 0: a single comparison, 30 times as fast as counting all values.
    if label.size == 0 or int((label + np.uint8(1)).max()) <= count:
        return
    outside = [value for value in _values(label) if count <= value != IGNORE_INDEX]
    raise OutsideClassesError(
        f"{where}: label values {enumerate_some(outside)} are outside the {count} classes "
        f"(0 to {count - 1}); name every class, or set those pixels to {IGNORE_INDEX} to ignore them."
    )


def _values(label: Pixels) -> list[int]:
    return [int(value) for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256))]
