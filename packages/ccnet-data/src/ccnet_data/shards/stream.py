"""Samples in the order of their positions: for the trainer by position, for any other reader as an iterator."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue

from ..errors import DataError
from ..sample import OrderedDataset, Sample
from .order import Order, Place


class ReadAhead:
    """`order`, with the shards of the next block of a lane fetched as soon as a reader begins with the one before it.

    `bring(number)` fetches a shard; it is called in one thread per process, which ends with the process. What it raises
    as DataError, whoever reads the shard is told. Can be pickled and forked.
    """

    def __init__(self, order: Order, bring: Callable[[int], None]) -> None:
        self.order, self.bring = order, bring
        self._process = -1

    def __reduce__(self) -> tuple[type["ReadAhead"], tuple[Order, Callable[[int], None]]]:
        return ReadAhead, (self.order, self.bring)

    def index_at(self, position: int, /) -> int:
        """Return the index of the sample at `position`, as `order` does."""
        if self._process != os.getpid():
            self._begin()
        place = self.order.place(position)._replace(offset=0)
        if self._begun.get(place.lane) != place:
            self._begun[place.lane] = place
            for shard in [*self.order.shards_at(place), *self._following(place)]:
                self._wanted.put(shard)
        return self.order.index_at(position)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._begun: dict[int, Place] = {}
        self._wanted: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=_work, args=(self._wanted, self.bring), daemon=True).start()

    def _following(self, place: Place) -> list[int]:
        later = self.order.shards_at(place._replace(block=place.block + 1))
        return later or self.order.shards_at(Place(place.epoch + 1, place.lane, 0, 0))


def _work(wanted: "SimpleQueue[int]", bring: Callable[[int], None]) -> None:
    while True:
        with suppress(DataError):
            bring(wanted.get())
