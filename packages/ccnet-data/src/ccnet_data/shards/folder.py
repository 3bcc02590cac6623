"""A folder of shards on this machine: its manifest, and what is wrong with its files."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import DataError, enumerate_some, reading
from ..sample import SampleOrder
from .columns import Columns
from .files import REMEDY, ShardFile
from .manifest import MANIFEST_FILE, Manifest, Shard, read_manifest
from .order import Order

OPEN_FILES = 64
"""Shards that a process keeps open: each takes a file descriptor, of which a process often has 1024."""


@dataclass(frozen=True, kw_only=True)
class ShardFolder:
    """The manifest in `folder` and the shards beside it."""

    folder: Path

    def __call__(self, shard: Shard) -> Path:
        """Return the place of `shard`."""
        return self.folder / shard.file

    @contextmanager
    def opened(self, shard: Shard, columns: Columns) -> Iterator[ShardFile]:
        """Open `shard`, which a process keeps open for its next samples. Raises DataError if it is damaged."""
        yield open_shard(self(shard), shard, columns, os.getpid())

    def ahead(self, order: Order, _shards: tuple[Shard, ...]) -> SampleOrder:
        """Return `order`: all shards are here."""
        return order

    def manifest(self) -> Manifest:
        """Read the manifest. Raises DataError if it is not there or not one."""
        file = self.folder / MANIFEST_FILE
        with reading(file):
            content = file.read_bytes()
        return read_manifest(content, str(file))

    def absent(self, shards: tuple[Shard, ...]) -> Iterator[str]:
        """Yield a sentence for each of `shards` whose file is missing or has another size; none is opened."""
        for shard in shards:
            place = self(shard)
            if not place.is_file():
                yield f"{place}: there is no such file, but the manifest names it; {REMEDY}."
            elif place.stat().st_size != shard.bytes:
                yield f"{place}: has {place.stat().st_size} bytes, not {shard.bytes}; {REMEDY}."

    def unopened(self, shard: Shard, columns: Columns) -> str | None:
        """Return in one sentence why `shard` cannot be opened, None if it can."""
        try:
            ShardFile(self(shard), shard, columns)
        except DataError as error:
            return str(error)
        return None

    def altered(self, shard: Shard) -> str | None:
        """Return in one sentence that the bytes of `shard`, all of which are read, are others; None if not."""
        found = digest(self(shard))
        same = found == shard.sha256
        return None if same else f"{self(shard)}: its SHA-256 is {found}, not {shard.sha256}; {REMEDY}."

    def surplus(self, manifest: Manifest) -> str | None:
        """Return in one sentence which parquet files in the folder the manifest does not name."""
        known = {shard.file for shards in manifest.splits.values() for shard in shards}
        found = sorted(file.name for file in self.folder.glob("*.parquet") if file.name not in known)
        return f"{self.folder}: the manifest does not name {enumerate_some(found)}; remove them." if found else None


@lru_cache(maxsize=OPEN_FILES)
def open_shard(path: Path, shard: Shard, columns: Columns, _process: int) -> ShardFile:
    """Return the shard at `path`, opened by this process; a forked one has its own, whose lock nobody else holds."""
    return ShardFile(path, shard, columns)


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises DataError if it cannot be read."""
    with reading(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
