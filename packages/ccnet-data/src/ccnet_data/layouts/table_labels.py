"""How the labels of a table are read: class indices, indices that count from 1, or colours."""

from dataclasses import dataclass

from ..errors import DataError
from ..labels import ClassLabels, ColourLabels, LabelReader, MappedLabels
from ..sample import IGNORE_INDEX, Colour, Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = 25
"""Offset of the colour type in a PNG file (PNG specification, section 11.2.1: the header chunk comes first)."""
_TRUE_COLOUR = (b"\2", b"\6")
"""Colour types RGB and RGBA."""


def reader_of(
    count: int, palette: tuple[Colour, ...] | None, ignored: tuple[Colour, ...], reduce_zero_label: bool
) -> LabelReader:
    """Return the reader of the labels of `count` classes; the file of each one says whether it holds colours."""
    indices: LabelReader = ClassLabels(count=count)
    if reduce_zero_label:
        shifted = {value: value - 1 for value in range(1, count + 1)}
        indices = MappedLabels(classes={**shifted, 0: IGNORE_INDEX, IGNORE_INDEX: IGNORE_INDEX})
    return IndexOrColourLabels(indices=indices, palette=palette, ignored=ignored)


@dataclass(frozen=True, kw_only=True)
class IndexOrColourLabels:
    """Reads RGB label maps by the colours of `palette`, others by `indices`; the colours in `ignored` become 255."""

    indices: LabelReader
    palette: tuple[Colour, ...] | None
    ignored: tuple[Colour, ...] = ()

    def __call__(self, content: bytes, where: str) -> Pixels:
        """Decode `content` to uint8 (H, W). Raises DataError, beginning with `where`."""
        if not (content.startswith(_SIGNATURE) and content[_COLOUR_TYPE : _COLOUR_TYPE + 1] in _TRUE_COLOUR):
            return self.indices(content, where)
        if self.palette is None:
            raise DataError(f"{where}: the label is in colours; give palette=[[r, g, b], ...], one per class.")
        if len({*self.palette, *self.ignored}) < len(self.palette) + len(self.ignored):
            raise DataError(f"{where}: the label is in colours, but palette and ignored_colours hold one twice.")
        classes = {colour: number for number, colour in enumerate(self.palette)}
        return ColourLabels(classes={**classes, **dict.fromkeys(self.ignored, IGNORE_INDEX)})(content, where)
