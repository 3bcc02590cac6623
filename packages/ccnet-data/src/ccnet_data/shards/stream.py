"""Samples in the order of their positions: for the trainer by position, for any other reader as an iterator."""

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from ..errors import DataError
from ..sample import OrderedDataset, Sample
from .order import Order, Place

Bring = Callable[[int], None]
"""Fetches the shard of a number, unless it is here."""


class ReadAhead:
    """`order`, with the shards of a lane's next block fetched as soon as a reader begins with the block before it.

    `bring` is called in one thread per process, from the second sample on that the process asks for: one alone is only
    a look at the dataset, after which a process may fork. A shard that cannot be fetched is reported by whoever reads
    it. Nothing is fetched ahead where that would drive out what is being read: `room` shards can be kept. Can be
    pickled.
    """

    def __init__(self, order: Order, bring: Bring, room: int) -> None:
        self.order, self.bring, self.room = order, bring, room
        self._process = -1

    def __reduce__(self) -> tuple[type["ReadAhead"], tuple[Order, Bring, int]]:
        return ReadAhead, (self.order, self.bring, self.room)

    def index_at(self, position: int, /) -> int:
        """Return the index of the sample at `position`, as `order` does."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._begun: dict[int, Place] | None = None
        else:
            self._look_ahead(self.order.place(position)._replace(offset=0))
        return self.order.index_at(position)

    def _look_ahead(self, place: Place) -> None:
        if self._begun is None:
            self._begun, self._wanted = {}, _fetching(self)
        if self._begun.get(place.lane) != place:
            self._begun[place.lane] = place
            shards = [*self.order.shards_at(place), *self._following(place)]
            if len(self._begun) * len(shards) <= self.room:
                for shard in shards:
                    self._wanted.put(shard)

    def _following(self, place: Place) -> list[int]:
        later = self.order.shards_at(place._replace(block=place.block + 1))
        return later or self.order.shards_at(Place(place.epoch + 1, place.lane, 0, 0))


class ShardStream:
    """The samples of one of several readers, with their positions: `for position, sample in stream`, without an end.

    The readers are `workers` in each of `processes`. The one called (process, worker) takes the positions p from
    `start` on with p mod `processes` = process and p div `processes` mod `workers` = worker: together they take each
    position once, and what lies there depends on `seed` alone. `position` is the next one, and the whole state:
    a stream made with `start=stream.position` continues this one.
    """

    def __init__(
        self,
        dataset: OrderedDataset,
        *,
        seed: int,
        start: int = 0,
        process: int = 0,
        processes: int = 1,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self.dataset, self.order = dataset, dataset.order(seed)
        self.readers = processes * workers
        self.position = start + (process + processes * worker - start) % self.readers

    def __iter__(self) -> Iterator[tuple[int, Sample]]:
        for position in itertools.count(self.position, self.readers):
            sample = self.dataset[self.order.index_at(position)]
            self.position = position + self.readers
            yield position, sample


def _fetching(owner: ReadAhead) -> "SimpleQueue[int | None]":
    """Return a queue of the numbers of shards to fetch, in a thread that ends with `owner`, whatever waits."""
    wanted: SimpleQueue[int | None] = SimpleQueue()
    weakref.finalize(owner, _end, wanted).atexit = False
    threading.Thread(target=_work, args=(wanted, owner.bring), name="shards ahead", daemon=True).start()
    return wanted


def _end(wanted: "SimpleQueue[int | None]") -> None:
    with suppress(Empty):
        while True:
            wanted.get_nowait()
    wanted.put(None)


def _work(wanted: "SimpleQueue[int | None]", bring: Bring) -> None:
    for shard in iter(wanted.get, None):
        with suppress(DataError):
            bring(shard)
