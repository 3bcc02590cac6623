"""Files of shards brought here: continued where they broke off, held against their length and their SHA-256."""

import hashlib
import time
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from ..errors import FetchError
from .manifest import Shard
from .retry import Retry
from .source import Opened, opened


def fetch(url: str, shard: Shard, target: BinaryIO, retry: Retry) -> None:
    """Write `shard`, which lies at `url`, to the file `target`.

    What a broken attempt brought is kept, and the next one asks for the rest; a damaged file is fetched anew. Raises
    FetchError with the address and the byte that was reached, when `retry` is at its end or the file is refused; and
    when `target` cannot be written.
    """
    receiver = _Receiver(shard, target)
    retry.run(partial(receiver.attempt, url, retry.timeout), lambda: f"{url}, byte {receiver.offset} of {shard.bytes}")


def fetch_text(url: str, retry: Retry) -> bytes:
    """Return the content of the small file at `url`. Raises FetchError as `fetch` does."""
    return retry.run(partial(_whole, url, retry.timeout), lambda: url)


class _Receiver:
    """The first `offset` bytes of a shard, in the file `target`, and their hash."""

    def __init__(self, shard: Shard, target: BinaryIO) -> None:
        self.shard, self.target = shard, target
        self._begin_anew()

    def attempt(self, url: str, timeout: float, deadline: float) -> None:
        """Receive what is missing. Raises whatever went wrong; `offset` says how far it came."""
        if self.offset == self.shard.bytes:  # and damaged
            self._begin_anew()
        with opened(url, self.offset, timeout) as source:
            if source.first != self.offset:
                self._begin_anew()
            if source.size not in (None, self.shard.bytes):
                raise ConnectionError(f"wrong length, {source.size} bytes instead of {self.shard.bytes}")
            for piece in _pieces(source, deadline):
                self._write(piece)
        if self.offset < self.shard.bytes:
            raise ConnectionError(f"broken off, {self.shard.bytes - self.offset} bytes are missing")
        if self.digest.hexdigest() != self.shard.sha256:
            raise ConnectionError(f"damaged, its SHA-256 is {self.digest.hexdigest()} instead of {self.shard.sha256}")

    def _begin_anew(self) -> None:
        self.offset = 0
        self.digest = hashlib.sha256()
        self.target.seek(0)

    def _write(self, piece: bytes) -> None:
        if self.offset + len(piece) > self.shard.bytes:
            raise ConnectionError(f"wrong length, more than {self.shard.bytes} bytes")
        try:
            self.target.write(piece)
        except OSError as error:
            raise FetchError(f"{self.target.name}: cannot be written ({error.strerror}); is the disk full?") from error
        self.digest.update(piece)
        self.offset += len(piece)


def _pieces(source: Opened, deadline: float) -> Iterator[bytes]:
    while piece := source.read():
        yield piece
        if time.monotonic() > deadline:
            raise TimeoutError("too slow")


def _whole(url: str, timeout: float, deadline: float) -> bytes:
    with opened(url, 0, timeout) as source:
        content = b"".join(_pieces(source, deadline))
    if source.size not in (None, len(content)):
        raise ConnectionError(f"broken off after {len(content)} of {source.size} bytes")
    return content
