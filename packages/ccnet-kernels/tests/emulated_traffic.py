"""What an emulated launch moves and computes: the instructions, counted while they are emulated."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from emulated_instructions import Instructions
from emulated_memory import LANES, NOBODY, Global, Shared
from emulated_threads import Threads

from ccnet_kernels.cuda import ptx

SECTOR = 32  # bytes that L2 hands out at a time
PRODUCT = 2 * 16 * 8 * 16  # FLOPs of a warp's mma.m16n8k16


@dataclass
class Traffic:
    """Counts of one launch.

    `sectors` are distinct sectors of 32 bytes of each access by a warp, which is what L2 is asked for where the first
    cache holds nothing. `touched` are the bytes of global memory that are read, and those that are written, each once.
    `shared` are bytes read from and written to shared memory, `exponentials` those of single threads.
    """

    sectors: int = 0
    touched: int = 0
    shared: int = 0
    products: int = 0
    exponentials: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        """Return the counts of two launches."""
        return Traffic(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})

    def __rmul__(self, times: int) -> "Traffic":
        """Return the counts of so many launches."""
        return Traffic(**{field.name: times * getattr(self, field.name) for field in fields(self)})


class CountedInstructions(Instructions):
    """Instructions that count. Global memory is counted as `touched` by `note_touched`, once the launch is over."""

    def __init__(self, threads: Threads, memories: list[Global], traffic: Traffic):
        super().__init__(threads, memories)
        self.traffic = traffic
        exp2 = self.table[id(ptx.exp2)]
        self.table[id(ptx.exp2)] = lambda number: self._count_exponentials() or exp2(number)

    def _count_exponentials(self) -> None:
        self.traffic.exponentials += len(self.threads.lanes)

    def _count_sectors(self, addresses: np.ndarray, lanes: np.ndarray) -> None:
        pairs = np.stack([self.threads.identity[lanes] // LANES, addresses // SECTOR], 1)
        self.traffic.sectors += len(np.unique(pairs, axis=0))

    def _count(self, array: Any, index: Any) -> None:
        if isinstance(array, Global):
            places = self.threads.of_active(index)
            self._count_sectors(array.start + places * array.numbers.itemsize, self.threads.lanes)
        elif isinstance(array, Shared):
            self.traffic.shared += len(self.threads.lanes) * array.numbers.itemsize

    def load(self, array: Any, index: Any) -> Any:
        self._count(array, index)
        return super().load(array, index)

    def store(self, array: Any, index: Any, value: Any) -> None:
        self._count(array, index)
        super().store(array, index, value)

    def load_words(self, address: Any, count: int) -> Any:
        self._count_words(address, count)
        return super().load_words(address, count)

    def store_words(self, address: Any, words: tuple[Any, ...]) -> None:
        self._count_words(address, len(words))
        super().store_words(address, words)

    def _count_words(self, address: Any, count: int) -> None:
        addresses = self.threads.of_active(address)
        if addresses[0] < Global.SPACING:
            self.traffic.shared += 4 * count * len(addresses)
        else:
            self._count_sectors(addresses, self.threads.lanes)

    def copy_async(self, to: Any, source: Any, count: Any) -> None:
        read = self.threads.of_active(count) > 0
        self._count_sectors(self.threads.of_active(source)[read], self.threads.lanes[read])
        self.traffic.shared += 16 * len(read)
        super().copy_async(to, source, count)

    def load_matrices(self, address: Any, *, transposed: bool) -> tuple[np.ndarray, ...]:
        self.traffic.shared += 16 * len(self.threads.lanes)
        return super().load_matrices(address, transposed=transposed)

    def multiply(self, decode: Any, *fragments: Any) -> tuple[np.ndarray, ...]:
        self.traffic.products += len(self.threads.lanes) // LANES
        return super().multiply(decode, *fragments)


def note_touched(traffic: Traffic, memories: list[Global]) -> None:
    """Add what a launch has read and what it has written, each element once."""
    for memory in memories:
        accesses = [np.count_nonzero(owner != NOBODY) for owner in (memory.reader, memory.writer)]
        traffic.touched += int(sum(accesses)) * memory.numbers.itemsize
