"""Shards at a URL: their manifest, and each shard through the cache of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import DataError
from ..sample import SampleOrder
from .cache import Cache
from .columns import Columns
from .fetch import fetch_text
from .files import ShardFile, ShardIndex
from .manifest import MANIFEST_FILE, Manifest, Shard, read_manifest
from .order import Order
from .stream import ReadAhead

INDICES = 256
"""Shards whose index a process keeps; each takes about 300 bytes per row group, which holds 1 MB."""


@dataclass(frozen=True, kw_only=True)
class RemoteShards:
    """The manifest and the shards below `root`, a URL, kept in `cache`."""

    root: str
    cache: Cache

    def url(self, name: str) -> str:
        """Return the address of the file `name`."""
        return f"{self.root.rstrip('/')}/{name}"

    def manifest(self) -> Manifest:
        """Fetch the manifest. Raises DataError if it is not there or not one."""
        url = self.url(MANIFEST_FILE)
        return read_manifest(fetch_text(url, self.cache.retry), url)

    @contextmanager
    def opened(self, shard: Shard, columns: Columns) -> Iterator[ShardFile]:
        """Open `shard`, fetched if it is not in the cache, where it stays while the block lasts."""
        url = self.url(shard.file)
        with self.cache.opened(url, shard) as file:
            path = Path(file.name)
            yield ShardFile(path, shard, columns, name=url, index=_index(path, shard, columns, url))

    def ahead(self, order: Order, shards: tuple[Shard, ...]) -> SampleOrder:
        """Return `order`, of `shards`, fetching ahead."""
        room = self.cache.size // max(shard.bytes for shard in shards)
        return ReadAhead(order, _Bring(files=self, shards=shards), room)

    def absent(self, _shards: tuple[Shard, ...]) -> Iterator[str]:
        """Yield nothing: a shard that is missing is noticed when it is fetched."""
        return iter(())

    def surplus(self, _manifest: Manifest) -> None:
        """Return None: the files at a URL cannot be listed."""

    def altered(self, _shard: Shard) -> None:
        """Return None: what is fetched is hashed."""

    def unopened(self, shard: Shard, columns: Columns) -> str | None:
        """Return in one sentence why `shard` cannot be fetched and opened, None if it can."""
        try:
            with self.opened(shard, columns):
                return None
        except DataError as error:
            return str(error)


@dataclass(frozen=True, kw_only=True)
class _Bring:
    """Fetches `shards` by their numbers."""

    files: RemoteShards
    shards: tuple[Shard, ...]

    def __call__(self, number: int) -> None:
        shard = self.shards[number]
        self.files.cache.bring(self.files.url(shard.file), shard)


@lru_cache(maxsize=INDICES)
def _index(path: Path, shard: Shard, columns: Columns, url: str) -> ShardIndex:
    """Return the index of the shard at `path`: reading it takes longer than mapping the file anew for each sample."""
    return ShardFile(path, shard, columns, name=url).index
