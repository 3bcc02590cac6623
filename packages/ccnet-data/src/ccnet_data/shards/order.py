"""In which order the samples of shards are seen: a pure function of (seed, epoch, position), whoever reads.

Each epoch permutes the shards, lays their rows end to end and cuts that line into `lanes` ranges. Every `span`
positions in a row belong to one lane, the next ones to the next lane, and so on in turn. A lane gives its rows in
blocks of `block`, each of them permuted. So a lane needs few shards at a time, a batch mixes all lanes, and readers
that share out positions share out lanes. The canonical nodes of MosaicML Streaming (docs.mosaicml.com, "Shuffling") are
the same idea.

Process r of P takes positions [t * B + r * B / P, t * B + (r + 1) * B / P) of step t, of B samples. Where `lanes` *
`span` is B, it reads `lanes` / P lanes that no other process reads, or, with P a multiple of `lanes`, one lane that P /
`lanes` processes share.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

LANES = 16
SPAN = 1
BLOCK = 2048

Numbers = NDArray[np.int64]


class Place(NamedTuple):
    """Where a position lies: block number `block` of lane `lane` in epoch `epoch`, at `offset` in that block."""

    epoch: int
    lane: int
    block: int
    offset: int


class _Line(NamedTuple):
    """The rows of one epoch end to end: `shards` in their order, and the row after the last one of each."""

    shards: Numbers
    ends: Numbers


class Order:
    """The order of the samples of shards that hold `rows` samples each, for any number of epochs.

    Every epoch is a permutation of all samples. Memory: a few numbers per shard, and one block of at most 256 lanes.
    Raises DataError when there are no samples.
    """

    def __init__(
        self, rows: Sequence[int], *, seed: int, lanes: int = LANES, span: int = SPAN, block: int = BLOCK
    ) -> None:
        self.rows: Numbers = np.asarray(rows, np.int64)
        self.samples = int(self.rows.sum())
        if self.samples == 0:
            raise DataError("The shards hold no samples, so they have no order.")
        self.seed, self.lanes, self.span, self.block = seed, lanes, span, block
        self._starts: Numbers = np.cumsum(self.rows) - self.rows
        self._lines: dict[int, _Line] = {}

    def index_at(self, position: int) -> int:
        """Return the index, 0 to `samples` - 1 in the order of the shards, of the sample at `position`, from 0 on."""
        place = self.place(position)
        first, length = self._extent(place)
        row = first + _permutation((self.seed, place.epoch, place.lane, place.block), length)[place.offset]
        line = self._line(place.epoch)
        turn = np.searchsorted(line.ends, row, side="right")
        shard = line.shards[turn]
        return int(self._starts[shard] + row - line.ends[turn] + self.rows[shard])

    def place(self, position: int) -> Place:
        """Return the lane and block that `position` lies in."""
        if position < 0:
            raise IndexError(f"position {position} is before the first one, 0")
        epoch, place = divmod(position, self.samples)
        turn, place = divmod(place, self.lanes * self.span)
        lane, step = divmod(place, self.span)
        block, offset = divmod(turn * self.span + step, self.block)
        return Place(epoch, lane, block, offset)

    def shards_at(self, place: Place) -> list[int]:
        """Return the numbers of the shards that the block of `place` reads; those past the end of a lane read none."""
        first, length = self._extent(place)
        line = self._line(place.epoch)
        turns = np.searchsorted(line.ends, [first, first + length - 1], side="right")
        return [int(shard) for shard in line.shards[turns[0] : turns[1] + 1]] if length > 0 else []

    def shard_of(self, index: int) -> tuple[int, int]:
        """Return the number of the shard that holds the sample at `index`, and its row there."""
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])

    def _extent(self, place: Place) -> tuple[int, int]:
        """Return the first row of the block of `place` in the line of its epoch, and how many rows the block has."""
        turns, rest = divmod(self.samples, self.lanes * self.span)
        start, end = (lane * turns * self.span + min(lane * self.span, rest) for lane in (place.lane, place.lane + 1))
        first = start + place.block * self.block
        return first, min(self.block, end - first)

    def _line(self, epoch: int) -> _Line:
        # Two are kept: a step may reach from one epoch into the next.
        if epoch not in self._lines:
            shards = _permuted((self.seed, epoch), len(self.rows))
            latest = list(self._lines.items())[-1:]
            self._lines = dict([*latest, (epoch, _Line(shards, np.cumsum(self.rows[shards])))])
        return self._lines[epoch]


@lru_cache(maxsize=256)
def _permutation(key: tuple[int, ...], length: int) -> Numbers:
    return _permuted(key, length)


def _permuted(key: tuple[int, ...], length: int) -> Numbers:
    """Return 0 to `length` - 1 in an order drawn from the stream named `key`.

    NumPy promises the raw stream of PCG64 for all versions, but not what `Generator.permutation` makes of it (NEP 19).
    """
    # SeedSequence takes trailing zeros of a key for nothing: the length tells (seed, epoch) from (seed, epoch, 0, 0).
    drawn = np.random.PCG64(np.random.SeedSequence((len(key), *key))).random_raw(length)
    return np.argsort(drawn, kind="stable")
