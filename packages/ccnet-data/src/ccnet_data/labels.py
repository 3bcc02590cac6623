"""How the bytes of a label file become class indices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import DataError, enumerate_some
from .pictures import read_indices
from .sample import IGNORE_INDEX, Pixels

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
        outside = [value for value in _values(label) if self.count <= value != IGNORE_INDEX]
        if outside:
            raise DataError(
                f"{where}: label values {enumerate_some(outside)} are outside the {self.count} classes "
                f"(0 to {self.count - 1}); name every class, or set those pixels to {IGNORE_INDEX} to ignore them."
            )
        return label


@dataclass(frozen=True, kw_only=True)
class MappedLabels:
    """Reads label maps whose values `classes` maps to classes, or to 255 where ignored; others are refused."""

    classes: Mapping[int, int]
    _table: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.full(256, _UNKNOWN, np.uint16)
        table[list(self.classes)] = list(self.classes.values())
        object.__setattr__(self, "_table", table)

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Decode `content` to uint8 (H, W). Raises DataError, beginning with `where`."""
        raw = read_indices(content, where)
        unknown = [value for value in _values(raw) if self._table[value] == _UNKNOWN]
        if unknown:
            raise DataError(f"{where}: label values {enumerate_some(unknown)} do not occur in this dataset.")
        return self._table.astype(np.uint8)[raw]


def _values(label: Pixels) -> list[int]:
    return [int(value) for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256))]
