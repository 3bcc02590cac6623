"""Memory as an emulated kernel sees it: bounds, alignment, fresh memory, and who may touch what at the same time.

Conflicts are found from the accesses themselves, so no unlucky order of warps has to be guessed. In shared memory two
warps conflict over an element unless a barrier lies between; in global memory two threads do so in the whole launch.
An access is (element, thread) for many threads at once: `places` are int64 (n,), or (n, 8) for runs of 16 bytes.
"""

import numpy as np

NAN_BITS = 0x7FFF  # a NaN in bfloat16 and in float16
NOWHERE = -(2**40)  # as an index out of every bounds
POISON = {"float32": np.float32(np.nan), "uint16": NAN_BITS}
FRESH, ARRIVING, VALID = range(3)
NOBODY, SEVERAL = -1, -2
STAMP = 2048  # a power of two above the threads of a block
SEVERAL_WARPS = STAMP - 1
LANES = 32


class EmulationError(AssertionError):
    """The kernel did what a GPU punishes, or what the emulator does not know."""


def demand(held: np.ndarray | bool, message: str) -> None:
    """Raise unless every condition holds."""
    if not np.all(held):
        raise EmulationError(message)


class Memory:
    """An array with addresses: element 0 lies `offset` behind number * SPACING, and nothing else comes near."""

    SPACING: int

    def __init__(self, number: int, name: str, numbers: np.ndarray, offset: int):
        self.name = name
        self.numbers = numbers
        self.start = number * self.SPACING + offset

    def demand_inside(self, places: np.ndarray, size: int) -> None:
        outside = places[(places < 0) | (places >= size)]
        if outside.size:
            raise EmulationError(f"{self.name}[{outside.flat[0]}] is out of bounds, it has {size} elements")

    def run_of(self, addresses: np.ndarray, count: int) -> np.ndarray:
        """Return the places (n, count) of a run of numbers from each address, which its size must divide."""
        size = self.numbers.itemsize
        demand(addresses % (count * size) == 0, f"an address in {self.name} is not a multiple of {count * size}")
        return ((addresses - self.start) // size)[:, None] + np.arange(count)


class Shared(Memory):
    """A shared array of many blocks. The stamp of an access is epoch * STAMP + thread; a barrier ends an epoch."""

    SPACING = 2**20

    def __init__(self, number: int, blocks: int, shape: tuple[int, ...], kind: str, alignment: int):
        self.shape, self.size = shape, int(np.prod(shape))
        numbers = np.full(blocks * self.size, POISON.get(kind, 0), kind)
        super().__init__(number, f"shared array {number}", numbers, alignment)
        self.state = np.full(numbers.size, FRESH, np.uint8)
        self.writer, self.reader = (np.full(numbers.size, NOBODY, np.int32) for _ in range(2))

    def load(self, places: np.ndarray, blocks: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        flat = self._flat(places, blocks)
        demand(self.state[flat] != FRESH, f"{self.name} is read where nothing was written")
        demand(self.state[flat] != ARRIVING, f"{self.name} is read where a copy has not been waited for")
        stamps = np.broadcast_to(stamps.reshape(-1, *[1] * (flat.ndim - 1)), flat.shape)
        self._demand_no_conflict(self.writer[flat], stamps, "written and read")
        earlier = self.reader[flat]
        self.reader[flat] = stamps
        others = _conflict(earlier, stamps) | _conflict(self.reader[flat], stamps)
        self.reader[flat[others]] = stamps[others] | SEVERAL_WARPS
        return self.numbers[flat]

    def store(self, places: np.ndarray, blocks: np.ndarray, stamps: np.ndarray, numbers: object, state: int) -> None:
        flat = self._flat(places, blocks)
        stamps = np.broadcast_to(stamps.reshape(-1, *[1] * (flat.ndim - 1)), flat.shape)
        self._demand_no_conflict(self.writer[flat], stamps, "written twice")
        self._demand_no_conflict(self.reader[flat], stamps, "read and written")
        self.writer[flat] = stamps
        demand(self.writer[flat] == stamps, f"{self.name}: two threads write one element at once")
        self.state[flat] = state
        if state == VALID:
            self.numbers[flat] = numbers

    def place(self, index: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the element of an index, one part for each axis."""
        place = np.int64(0)
        for size, part in zip(self.shape, index, strict=True):
            self.demand_inside(part, size)
            place = place * size + part
        return place

    def _flat(self, places: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        self.demand_inside(places, self.size)
        return places + (blocks * self.size).reshape(-1, *[1] * (places.ndim - 1))

    def _demand_no_conflict(self, earlier: np.ndarray, stamps: np.ndarray, done: str) -> None:
        demand(~_conflict(earlier, stamps), f"{self.name}: an element is {done} by two warps without a barrier between")


def _conflict(earlier: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Return where two accesses are of one epoch but of two warps: below STAMP they differ, and by more than a lane."""
    difference = earlier ^ stamps  # negative where nobody came earlier
    return (difference >= LANES) & (difference < STAMP)


class Global(Memory):
    """The memory of a tensor, for one launch."""

    SPACING = 2**44

    def __init__(self, number: int, name: str, numbers: np.ndarray):
        super().__init__(number, name, numbers, numbers.ctypes.data % 256)
        self.writer, self.reader = (np.full(numbers.size, NOBODY, np.int32) for _ in range(2))

    def load(self, places: np.ndarray, threads: np.ndarray) -> np.ndarray:
        self.demand_inside(places, self.numbers.size)
        threads = np.broadcast_to(threads.reshape(-1, *[1] * (places.ndim - 1)), places.shape)
        self._demand_mine(self.writer[places], threads, "written by one thread and read by another")
        earlier = self.reader[places]
        self.reader[places] = threads
        others = ((earlier != NOBODY) & (earlier != threads)) | (self.reader[places] != threads)
        self.reader[places[others]] = SEVERAL
        return self.numbers[places]

    def store(self, places: np.ndarray, threads: np.ndarray, numbers: object) -> None:
        self.demand_inside(places, self.numbers.size)
        threads = np.broadcast_to(threads.reshape(-1, *[1] * (places.ndim - 1)), places.shape)
        self._demand_mine(self.reader[places], threads, "read by one thread and written by another")
        self._demand_mine(self.writer[places], threads, "written by two threads")
        self.writer[places] = threads
        self._demand_mine(self.writer[places], threads, "written by two threads")
        self.numbers[places] = numbers

    def _demand_mine(self, earlier: np.ndarray, threads: np.ndarray, done: str) -> None:
        demand((earlier == NOBODY) | (earlier == threads), f"{self.name}: an element is {done} in one launch")


class Window:
    """A place in the memory of a tensor, of which kernels take addresses only."""

    def __init__(self, memory: Global, first: int):
        self.numbers = memory.numbers
        self.start = memory.start + first * memory.numbers.itemsize
