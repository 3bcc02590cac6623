"""Random access to a split's samples over all its shards."""

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import SupportsIndex

from ..sample import API_VERSION, IGNORE_INDEX, Colour, Sample, position
from .columns import Columns
from .files import ShardFile
from .manifest import Manifest, Shard

OPEN_FILES = 64
"""Shards that a process keeps open: each takes a file descriptor, of which a process often has 1024."""

LocalFile = Callable[[Shard], Path]
"""Returns the whole file of a shard on this machine, or raises DataError. It is pickled with its dataset."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardDataset:
    """The samples of `shards`, of the dataset that `manifest` describes, in their order.

    Each time a sample is read, `local_file` says where its shard lies. A process opens it when it first needs it.
    """

    manifest: Manifest
    shards: tuple[Shard, ...]
    local_file: LocalFile
    _ends: tuple[int, ...] = field(init=False, repr=False)
    _columns: Columns = field(init=False, repr=False)

    api_version = API_VERSION
    ignore_index = IGNORE_INDEX

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(shard.rows for shard in self.shards)))
        object.__setattr__(self, "_columns", Columns.of(self.manifest))

    @property
    def task(self) -> str:
        """What a sample is: "segmentation" or "video"."""
        return self.manifest.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.manifest.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """One RGB colour per class, 0-255."""
        return self.manifest.palette

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes that a mirror image swaps."""
        return self.manifest.flip_pairs

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, len(self))
        place = bisect_right(self._ends, number)
        shard = self.shards[place]
        file = open_shard(self.local_file(shard), shard, self._columns, os.getpid())
        return file.sample(number - self._ends[place] + shard.rows)


@lru_cache(maxsize=OPEN_FILES)
def open_shard(path: Path, shard: Shard, columns: Columns, _process: int) -> ShardFile:
    """Return the shard at `path`, opened by this process; a forked one has its own, whose lock nobody else holds."""
    return ShardFile(path, shard, columns)
