"""A large JSON file object by object, in the memory of one object."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from ..errors import DataError

_WINDOW = 1 << 20
"""Bytes that are read at once."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class Piece(NamedTuple):
    """A value of the file's object: all of `key`, or one element of its list.

    `number` is the position in the list; a list as a whole comes first, without a value, and has number None. `start`
    is the first byte of the value in the file and `end` the one after its last.
    """

    key: str
    number: int | None
    value: Any
    start: int
    end: int


def pieces(stream: BinaryIO, where: str) -> Iterator[Piece]:
    """Return the pieces of the JSON object in `stream`. Raises DataError, beginning with `where`, if it is damaged."""
    window = _Window(stream)
    try:
        yield from _members(window)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a whole JSON object (near byte {window.offset + window.place}: {error}); "
            "fetch or export the file again."
        ) from error


class _Window:
    """The part of a file that is in memory: Latin-1, so that a character is a byte, from byte `offset` on."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.text, self.place = "", 0
        self.offset = len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0
        stream.seek(self.offset)

    def next(self) -> str:
        """Return the next character that is no space, without taking it; "" at the end."""
        while True:
            space = _SPACE.match(self.text, self.place)
            self.place = space.end() if space else self.place
            if self.place < len(self.text) or not self._refill(_WINDOW):
                return self.text[self.place : self.place + 1]

    def take(self, expected: str) -> str:
        """Return the next character, which must be one of `expected`."""
        found = self.next()
        if not found or found not in expected:
            raise ValueError(f"expected {' or '.join(expected)}, found {found or 'the end'}")
        self.place += 1
        return found

    def value(self) -> tuple[Any, int, int]:
        """Return the next value, its first byte and the byte after its last."""
        self.next()
        value, end = self._decode()
        text = self.text[self.place : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1"))
        start, self.place = self.offset + self.place, end
        return value, start, self.offset + end

    def _decode(self) -> tuple[Any, int]:
        size = _WINDOW
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
            except json.JSONDecodeError:
                if not self._refill(size):
                    raise
            else:
                # A number that ends where the window does may go on.
                if end < len(self.text) or not self._refill(size):
                    return value, end
            size *= 2

    def _refill(self, size: int) -> bool:
        content = self.stream.read(size)
        if not content:
            return False
        self.text = self.text[self.place :] + content.decode("latin-1")
        self.offset, self.place = self.offset + self.place, 0
        return True


def _members(window: _Window) -> Iterator[Piece]:
    window.take("{")
    while window.next() != "}":
        key, start, end = window.value()
        if not isinstance(key, str):
            raise ValueError(f"expected a text, found {key!r}")
        window.take(":")
        if window.next() == "[":
            yield Piece(key, None, None, start, end)
            yield from _elements(window, key)
        else:
            yield Piece(key, None, *window.value())
        if window.take(",}") == "}":
            return
    window.take("}")


def _elements(window: _Window, key: str) -> Iterator[Piece]:
    window.take("[")
    number = 0
    while window.next() != "]":
        yield Piece(key, number, *window.value())
        number += 1
        if window.take(",]") == "]":
            return
    window.take("]")
