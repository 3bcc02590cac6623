"""The dataset "shards": what `ccnet-data convert` wrote, on this machine or at a URL."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..errors import DataError
from ..options import Fault, Option, byte_count, number, path, whole_number
from ..sample import SegmentationDataset
from ..shards.cache import SIZE, Cache, default_folder
from ..shards.columns import Columns
from ..shards.dataset import ShardDataset
from ..shards.folder import ShardFolder
from ..shards.manifest import Manifest, Shard
from ..shards.order import BLOCK, LANES, SPAN
from ..shards.remote import RemoteShards
from ..shards.retry import Retry
from ..shards.source import is_url
from ..source import Source, faults_of
from .tree import require_folder

EXPECTED = "root must hold manifest.json and the shards that `ccnet-data convert` wrote"
_LARGEST = 2**31 - 1


def read_root(value: object) -> Path | str:
    """Read a folder or a URL."""
    return value if isinstance(value, str) and is_url(value) else path(value)


@dataclass(frozen=True, kw_only=True)
class Shards(Source):
    """Shards that `ccnet-data convert` wrote, in a folder, on a web server, on the Hub or at any URL of fsspec."""

    root: Annotated[
        Path | str | None,
        Option(read_root, "folder that holds manifest.json and the shards, or its URL (https://, hf://, s3://, ...)"),
    ] = None
    cache: Annotated[Path | None, Option(path, "of a URL: folder for fetched shards (~/.cache/ccnet-data/shards)")] = (
        None
    )
    cache_size: Annotated[int, Option(byte_count, "bytes that all shards in the cache may take, such as 200GB")] = SIZE
    attempts: Annotated[int, Option(whole_number(1, 1000), "of a URL: times that a shard is asked for")] = (
        Retry.attempts
    )
    patience: Annotated[float, Option(number(0, 1e6), "of a URL: seconds in which attempts may begin")] = Retry.seconds
    timeout: Annotated[float, Option(number(0.1, 1e6), "of a URL: seconds without a byte")] = Retry.timeout
    lanes: Annotated[
        int, Option(whole_number(1, _LARGEST), "shards read side by side; best train.images_per_step / span")
    ] = LANES
    span: Annotated[int, Option(whole_number(1, _LARGEST), "samples in a row from one lane")] = SPAN
    block: Annotated[int, Option(whole_number(1, _LARGEST), "samples of a lane that are shuffled together")] = BLOCK

    def splits(self) -> tuple[str, ...]:
        """Return the splits that the manifest names."""
        return tuple(self._files().manifest().splits)

    def faults(self, split: str | None) -> list[Fault]:
        """Return the first fault of the manifest and of the sizes of files here; no shard is opened."""
        return faults_of(root=lambda: self._check(split))

    def open(self, split: str) -> SegmentationDataset:
        """Return the samples of `split`. Raises DataError for the first shard that is missing or of another size."""
        files, manifest = self._check(split)
        return self._dataset(files, manifest, manifest.shards(split, str(self.root)))

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Return the samples of the shards that can be opened, and what is wrong with files; all are read whole."""
        files = self._files()
        manifest = files.manifest()
        shards = manifest.shards(split, str(self.root))
        unopened = {shard: files.unopened(shard, Columns.of(manifest)) for shard in shards}
        readable = tuple(shard for shard in shards if unopened[shard] is None)
        is_first = split == next(iter(manifest.splits))
        faults = [
            *unopened.values(),
            *(files.altered(shard) for shard in readable),
            files.surplus(manifest) if is_first else None,
        ]
        return self._dataset(files, manifest, readable), tuple(fault for fault in faults if fault is not None)

    def _dataset(
        self, files: ShardFolder | RemoteShards, manifest: Manifest, shards: tuple[Shard, ...]
    ) -> ShardDataset:
        kind = {"lanes": self.lanes, "span": self.span, "block": self.block}
        return ShardDataset(manifest=manifest, shards=shards, files=files, **kind)

    def _files(self) -> ShardFolder | RemoteShards:
        if self.root is None:
            raise DataError(
                "root is missing: give root=DIR, the folder that holds manifest.json and the shards, or its URL."
            )
        if isinstance(self.root, Path):
            return ShardFolder(folder=require_folder(self.root, EXPECTED))
        retry = Retry(attempts=self.attempts, seconds=self.patience, timeout=self.timeout)
        cache = Cache(folder=self.cache or default_folder(), size=self.cache_size, retry=retry)
        return RemoteShards(root=self.root, cache=cache)

    def _check(self, split: str | None) -> tuple[ShardFolder | RemoteShards, Manifest]:
        files = self._files()
        manifest = files.manifest()
        for each in manifest.splits if split is None else [split]:
            for fault in files.absent(manifest.shards(each, str(self.root))):
                raise DataError(fault)
        return files, manifest
