"""A small overlay of a large picture, gathered while its rows and labels pass by."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccnet_core import render
from ccnet_core.config import Colour
from ccnet_core.label_file import Labels, label_type
from ccnet_core.picture_rows import PictureRows

OVERLAY_EDGE = 2048
"""Pixels of the longer edge of an overlay, at most."""


class Preview:
    """Every so many pixels of a picture and its labels, kept as they pass by: a source of rows that looks at them."""

    def __init__(self, source: PictureRows, palette: Sequence[Colour]) -> None:
        self.size, self.decoding_bytes = source.size, source.decoding_bytes
        self._source, self._palette = source, palette
        self._step = math.ceil(max(self.size) / OVERLAY_EDGE)
        height, width = (math.ceil(edge / self._step) for edge in self.size)
        self._picture = np.zeros((height, width, 3), np.uint8)
        self._labels = np.zeros((height, width), label_type(palette))

    def read(self, start: int, out: NDArray[np.uint8]) -> None:
        """See :class:`PictureRows`."""
        self._source.read(start, out)
        self._keep(self._picture, start, out.transpose(1, 2, 0))

    def watch(self, strips: Iterator[Labels]) -> Iterator[Labels]:
        """Yield `strips` of labels from top to bottom."""
        start = 0
        for strip in strips:
            self._keep(self._labels, start, strip)
            start += len(strip)
            yield strip

    def _keep(self, kept: NDArray[Any], start: int, rows: NDArray[Any]) -> None:
        first = -start % self._step
        chosen = rows[first :: self._step, :: self._step]
        top = (start + first) // self._step
        kept[top : top + len(chosen)] = chosen

    def png(self) -> bytes:
        """Return the overlay as a PNG."""
        return render.png(render.overlay(self._picture, self._labels, self._palette))
