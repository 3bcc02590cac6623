"""The threads of many blocks, which an emulation runs in step: one vector with an element for each thread.

`active` says which threads take part in the statement at hand; `alike` tells what they agree on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from emulated_memory import ARRIVING, LANES, STAMP, VALID, EmulationError, Shared, demand


@dataclass
class Copies:
    """Asynchronous copies of 16 bytes under way: one entry of each array for each copy."""

    to: Shared
    places: np.ndarray  # (n, 8)
    numbers: np.ndarray  # (n, 8)
    thread: np.ndarray
    group: np.ndarray


class Threads:
    """Where each thread stands, and what threads do together."""

    def __init__(self, blocks: np.ndarray, in_block: int, bytes_at_launch: int = 0):
        self.in_block = in_block
        self.bytes_at_launch = bytes_at_launch
        demand(self.in_block % LANES == 0, "a block is not a whole number of warps")
        self.count = len(blocks) * self.in_block
        everyone = np.arange(self.count)
        self.block = everyone // self.in_block  # among the blocks that run together
        self.block_number = blocks[self.block]
        self.number = everyone % self.in_block
        self.identity = (self.block_number * self.in_block + self.number).astype(np.int32)
        self.epoch = np.zeros(len(blocks), np.int64)
        self.copies: list[Copies] = []
        self.closed_groups = np.zeros(self.count, np.int64)
        self.shared: list[Shared] = []
        self._set_active(np.ones(self.count, bool))

    def _set_active(self, active: np.ndarray) -> None:
        self.active = active
        self.lanes = np.flatnonzero(active)
        self.everyone = len(self.lanes) == self.count

    @contextmanager
    def only(self, chosen: np.ndarray) -> Iterator[bool]:
        """Run what follows for the active threads that are chosen; tell whether there are any."""
        before = self.active, self.lanes, self.everyone
        narrowed = self.active & chosen
        if (narrowed != self.active).any():
            self._set_active(narrowed)
        yield bool(len(self.lanes))
        self.active, self.lanes, self.everyone = before

    def stamps(self, lanes: np.ndarray) -> np.ndarray:
        return (self.epoch[self.block[lanes]] * STAMP + self.number[lanes]).astype(np.int32)

    def alike(self, value: Any) -> Any:
        """Return the one value that the active threads have, as Python's, or None where they differ."""
        if not isinstance(value, np.ndarray):
            return value
        seen = value if self.everyone else value[self.lanes]
        return seen[0].item() if (seen == seen[0]).all() else None

    def of_active(self, value: Any) -> np.ndarray:
        """Return the value of each active thread."""
        return np.broadcast_to(value, self.count)[self.lanes]

    def to_all(self, values: np.ndarray, missing: object) -> np.ndarray:
        """Return a vector over all threads from one over the active ones."""
        if self.everyone:
            return values
        result = np.full(self.count, missing, values.dtype)
        result[self.lanes] = values
        return result

    def demand_whole(self, size: int, what: str) -> None:
        """Raise unless in each group of `size` neighbours all threads are active or none."""
        if not self.everyone:
            together = self.active.reshape(-1, size)
            demand(together.all(1) == together.any(1), f"{what} that not all threads reach together")

    def barrier(self) -> None:
        self.demand_whole(self.in_block, "a barrier")
        self.epoch[np.unique(self.block[self.lanes])] += 1

    def begin_copy(self, to: Shared, places: np.ndarray, numbers: np.ndarray) -> None:
        """Copy later: until the thread waits, its destination holds nothing that may be read."""
        to.store(places, self.block[self.lanes], self.stamps(self.lanes), None, ARRIVING)
        self.copies.append(Copies(to, places, numbers, self.lanes, self.closed_groups[self.lanes]))

    def close_group(self) -> None:
        self.closed_groups[self.lanes] += 1

    def wait_for_groups(self, but: int) -> None:
        """Let the copies of the active threads arrive, but those of their newest closed groups."""
        for copies in self.copies:
            ready = self.active[copies.thread] & (copies.group < self.closed_groups[copies.thread] - but)
            thread = copies.thread[ready]
            places, numbers = copies.places[ready], copies.numbers[ready]
            copies.to.store(places, self.block[thread], self.stamps(thread), numbers, VALID)
            for name in ("places", "numbers", "thread", "group"):
                setattr(copies, name, getattr(copies, name)[~ready])
        self.copies = [copies for copies in self.copies if len(copies.thread)]

    def end(self) -> None:
        demand(not self.copies, "a thread ends before its copies have arrived")

    def new_shared(self, shape: tuple[int, ...], kind: str, alignment: int) -> Shared:
        if not self.everyone:
            raise EmulationError("a shared array that not all threads reach")
        if shape == (0,):
            shape = (self.bytes_at_launch // np.dtype(kind).itemsize,)
        self.shared.append(Shared(len(self.shared) + 1, len(self.epoch), shape, kind, alignment))
        return self.shared[-1]
