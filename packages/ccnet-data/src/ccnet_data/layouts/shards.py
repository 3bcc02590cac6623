"""The dataset "shards": what `ccnet-data convert` wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..errors import DataError
from ..options import Fault, Option, path
from ..sample import SegmentationDataset
from ..shards.columns import Columns
from ..shards.dataset import ShardDataset
from ..shards.folder import ShardFolder
from ..source import Source, faults_of
from .tree import require_folder

EXPECTED = "root must hold manifest.json and the shards that `ccnet-data convert` wrote"


@dataclass(frozen=True, kw_only=True)
class Shards(Source):
    """Shards that `ccnet-data convert` wrote, mapped into memory."""

    root: Annotated[Path | None, Option(path, "folder that holds manifest.json and the shards")] = None

    def splits(self) -> tuple[str, ...]:
        """Return the splits that the manifest names."""
        return tuple(self._folder().manifest().splits)

    def faults(self, split: str | None) -> list[Fault]:
        """Return the first fault of the manifest and of the files' sizes; no shard is opened."""
        return faults_of(root=lambda: self._check(split))

    def open(self, split: str) -> SegmentationDataset:
        """Return the samples of `split`. Raises DataError for the first shard that is missing or of another size."""
        self._check(split)
        folder = self._folder()
        manifest = folder.manifest()
        return ShardDataset(manifest=manifest, shards=manifest.shards(split, str(self.root)), local_file=folder)

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Return the samples of the shards that can be opened, and what is wrong with files; all are read whole."""
        folder = self._folder()
        manifest = folder.manifest()
        columns = Columns.of(manifest)
        damage = {shard: folder.damage(shard, columns) for shard in manifest.shards(split, str(self.root))}
        readable = tuple(shard for shard, fault in damage.items() if fault is None)
        is_first = split == next(iter(manifest.splits))
        faults = [*damage.values(), folder.surplus(manifest) if is_first else None]
        dataset = ShardDataset(manifest=manifest, shards=readable, local_file=folder)
        return dataset, tuple(fault for fault in faults if fault is not None)

    def _folder(self) -> ShardFolder:
        if self.root is None:
            raise DataError("root is missing: give root=DIR, the folder that holds manifest.json and the shards.")
        return ShardFolder(folder=require_folder(self.root, EXPECTED))

    def _check(self, split: str | None) -> None:
        folder = self._folder()
        manifest = folder.manifest()
        for each in manifest.splits if split is None else [split]:
            for fault in folder.absent(manifest.shards(each, str(self.root))):
                raise DataError(fault)
