"""Random access to a split's samples over all its shards."""

from bisect import bisect_right
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, SupportsIndex

from ..sample import API_VERSION, IGNORE_INDEX, Colour, Sample, SampleOrder, position
from .columns import Columns
from .files import ShardFile
from .manifest import Manifest, Shard
from .order import BLOCK, LANES, SPAN, Order


class ShardFiles(Protocol):
    """Where shards lie. It is pickled with its dataset."""

    def opened(self, shard: Shard, columns: Columns) -> AbstractContextManager[ShardFile]:
        """Open `shard`, which stays while the block lasts. Raises DataError if it cannot be had."""
        ...

    def ahead(self, order: Order, shards: tuple[Shard, ...]) -> SampleOrder:
        """Return `order`, of `shards`, in the form that has them brought here in time."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardDataset:
    """The samples of `shards`, of the dataset that `manifest` describes, in their order.

    `files` opens a shard each time one of its samples is read. `lanes`, `span` and `block` are those of `order`.
    """

    manifest: Manifest
    shards: tuple[Shard, ...]
    files: ShardFiles
    lanes: int = LANES
    span: int = SPAN
    block: int = BLOCK
    _ends: tuple[int, ...] = field(init=False, repr=False)
    _columns: Columns = field(init=False, repr=False)

    api_version = API_VERSION
    ignore_index = IGNORE_INDEX

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", tuple(accumulate(shard.rows for shard in self.shards)))
        object.__setattr__(self, "_columns", Columns.of(self.manifest))

    @property
    def task(self) -> str:
        """What a sample is: "segmentation", "video" or "instances"."""
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
        with self.files.opened(shard, self._columns) as file:
            return file.sample(number - self._ends[place] + shard.rows)

    def order(self, seed: int, /) -> SampleOrder:
        """Return the order for `seed` in which few shards are needed at a time; see `ccnet_data.shards.order`."""
        rows = [shard.rows for shard in self.shards]
        order = Order(rows, seed=seed, lanes=self.lanes, span=self.span, block=self.block)
        return self.files.ahead(order, self.shards)
