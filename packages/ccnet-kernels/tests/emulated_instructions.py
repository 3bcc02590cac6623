"""What a kernel calls, done for all threads at once: Numba's CUDA functions and those of `ccnet_kernels.cuda.ptx`.

Fragments are laid out as the PTX ISA says for mma.m16n8k16 and ldmatrix: lane = 4 * g + c. Words are int64 below 2^32.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from emulated_memory import LANES, NOWHERE, POISON, VALID, EmulationError, Global, Memory, Shared, demand
from emulated_threads import Threads
from numba import cuda, types

from ccnet_kernels.cuda import ptx

SMALLEST_NORMAL = np.float32(2.0**-126)


class Local(list):
    """A local array: a vector, or a number that all threads have, for each element."""

    def __init__(self, size: int, kind: str):
        super().__init__([POISON.get(kind, NOWHERE)] * size)
        self.kind = kind


class Instructions:
    """The functions by what the kernel's source calls them with."""

    def __init__(self, threads: Threads, memories: list[Global]):
        self.threads = threads
        self.memories = memories
        found: list[tuple[Any, Any]] = [
            (cuda.threadIdx, SimpleNamespace(x=threads.number)),
            (cuda.blockIdx, SimpleNamespace(x=threads.block_number)),
            (cuda.blockDim, SimpleNamespace(x=threads.in_block)),
            (cuda.shared.array, self.shared_array),
            (cuda.local.array, lambda shape, dtype: Local(shape, str(dtype))),
            (cuda.syncthreads, threads.barrier),
            (cuda.shfl_xor_sync, self.shuffle_xor),
            (math.exp, lambda number: np.exp(number)),
            (math.log, lambda number: np.log(number)),
            (min, lambda one, other: (np.fmin if _is_float(one) else np.minimum)(one, other)),
            (max, lambda one, other: (np.fmax if _is_float(one) else np.maximum)(one, other)),
            (ptx.load_matrices, lambda address: self.load_matrices(address, transposed=False)),
            (ptx.load_matrices_transposed, lambda address: self.load_matrices(address, transposed=True)),
            (ptx.copy_async, self.copy_async),
            (ptx.close_group, threads.close_group),
            (ptx.wait_for_all_groups, lambda: threads.wait_for_groups(0)),
            (ptx.wait_for_all_groups_but_one, lambda: threads.wait_for_groups(1)),
            (ptx.wait_for_all_groups_but_two, lambda: threads.wait_for_groups(2)),
            (ptx.load_pair, lambda address: self.load_words(address, 1)),
            (ptx.store_pair, lambda address, pair: self.store_words(address, (pair,))),
            (ptx.load_two_pairs, lambda address: self.load_words(address, 2)),
            (ptx.store_two_pairs, lambda address, one, two: self.store_words(address, (one, two))),
            (ptx.load_pair_shared, lambda address: self.load_words(address, 1)),
            (ptx.store_pair_shared, lambda address, pair: self.store_words(address, (pair,))),
            (ptx.exp2, lambda number: _flushed(np.exp2(np.float32(_flushed(number))))),
            (ptx.log2, lambda number: _flushed(np.log2(np.float32(_flushed(number))))),
            (ptx.maximum, lambda one, other: np.fmax(np.float32(one), np.float32(other))),
            (ptx.address_in_shared, _address),
            (ptx.address_in_global, _address),
        ]
        for number in (ptx.BFLOAT16, ptx.FLOAT16):
            decode, encode = FORMATS[number.name]
            found += [
                (number.multiply, lambda *words, decode=decode: self.multiply(decode, *words)),
                (number.pack, lambda low, high, encode=encode: _word(encode(low), encode(high))),
                (number.low, lambda pair, decode=decode: decode(_halves(pair)[..., 0])),
                (number.high, lambda pair, decode=decode: decode(_halves(pair)[..., 1])),
            ]
        self.kept = found  # a name of the table is the address of an object that must stay
        self.table: dict[int, Any] = {id(original): emulated for original, emulated in found}

    def of(self, original: Any) -> Any:
        """Return what stands for a function or a place, or None."""
        if isinstance(original, types.Number | types.Boolean):
            return lambda value: self.cast(original, value)
        return self.table.get(id(original))

    # Numbers

    def cast(self, kind: Any, value: Any) -> Any:
        """Return a value as a type of Numba's; the whole number must fit."""
        if isinstance(kind, types.Float):
            demand(kind.bitwidth == 32, "float64 arithmetic")
            return np.float32(value)
        if isinstance(value, int):
            demand(kind.minval <= value <= kind.maxval, f"{value} does not fit into {kind}")
            return value
        if _is_float(value):
            value = np.trunc(value).astype(np.int64)
        seen = self.threads.of_active(value)
        demand((seen >= kind.minval) & (seen <= kind.maxval), f"a number does not fit into {kind}")
        return value

    def shuffle_xor(self, mask: int, value: Any, shift: int) -> Any:
        self.threads.demand_whole(LANES, "a shuffle")
        demand(mask == 2**LANES - 1, "a shuffle of a part of a warp is not emulated")
        return np.broadcast_to(value, self.threads.count)[np.arange(self.threads.count) ^ shift]

    # Memory

    def shared_array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Shared:
        shape = shape if isinstance(shape, tuple) else (shape,)
        return self.threads.new_shared(shape, str(dtype), alignment or dtype.bitwidth // 8)

    def load(self, array: Any, index: Any) -> Any:
        threads = self.threads
        if isinstance(array, Local):
            return array[self._place_in_local(array, index)]
        lanes = threads.lanes
        if isinstance(array, Shared):
            values = array.load(self._place_in_shared(array, index), threads.block[lanes], threads.stamps(lanes))
        elif isinstance(array, Global):
            values = array.load(threads.of_active(index), threads.identity[lanes])
        else:
            raise EmulationError("a null pointer is read")
        return threads.to_all(values, POISON[str(values.dtype)])

    def store(self, array: Any, index: Any, value: Any) -> None:
        threads = self.threads
        if isinstance(array, Local):
            place = self._place_in_local(array, index)
            value = np.float32(value) if array.kind == "float32" else value
            array[place] = value if threads.everyone else np.where(threads.active, value, array[place])
            return
        lanes, values = threads.lanes, threads.of_active(value)
        if isinstance(array, Shared):
            place = self._place_in_shared(array, index)
            array.store(place, threads.block[lanes], threads.stamps(lanes), values, VALID)
        elif isinstance(array, Global):
            array.store(threads.of_active(index), threads.identity[lanes], values)
        else:
            raise EmulationError("a null pointer is written")

    def _place_in_local(self, array: Local, index: Any) -> int:
        place = self.threads.alike(index)
        if place is None:
            raise EmulationError("threads index a local array differently, which would put it into local memory")
        demand(0 <= place < len(array), f"local[{place}] is out of bounds, it has {len(array)} elements")
        return int(place)

    def _place_in_shared(self, array: Shared, index: Any) -> np.ndarray:
        parts = index if isinstance(index, tuple) else (index,)
        return array.place(tuple(self.threads.of_active(part) for part in parts))

    def _behind(self, addresses: np.ndarray, memories: list[Any]) -> Memory:
        """Return the array that the first address lies in; the others must too, which the access itself checks."""
        number = int(addresses[0]) // memories[0].SPACING if memories else 0
        if not 1 <= number <= len(memories):
            raise EmulationError("an address lies in no array")
        return memories[number - 1]

    def load_words(self, address: Any, count: int) -> Any:
        """Return `count` words of two numbers, from global memory or from shared memory."""
        threads, addresses = self.threads, self.threads.of_active(address)
        if addresses[0] < Global.SPACING:
            shared = self._behind(addresses, threads.shared)
            lanes, places = threads.lanes, shared.run_of(addresses, 2 * count)
            numbers = shared.load(places, threads.block[lanes], threads.stamps(lanes))
        else:
            memory = self._behind(addresses, self.memories)
            numbers = memory.load(memory.run_of(addresses, 2 * count), threads.identity[threads.lanes])
        words = [threads.to_all(_word(numbers[:, 2 * n], numbers[:, 2 * n + 1]), NOWHERE) for n in range(count)]
        return words[0] if count == 1 else tuple(words)

    def store_words(self, address: Any, words: tuple[Any, ...]) -> None:
        threads, addresses = self.threads, self.threads.of_active(address)
        numbers = np.concatenate([_halves(threads.of_active(word)) for word in words], 1)
        if addresses[0] < Global.SPACING:
            shared = self._behind(addresses, threads.shared)
            lanes, places = threads.lanes, shared.run_of(addresses, 2 * len(words))
            shared.store(places, threads.block[lanes], threads.stamps(lanes), numbers, VALID)
        else:
            memory = self._behind(addresses, self.memories)
            memory.store(memory.run_of(addresses, 2 * len(words)), threads.identity[threads.lanes], numbers)

    def copy_async(self, to: Any, source: Any, count: Any) -> None:
        threads = self.threads
        to, source, count = threads.of_active(to), threads.of_active(source), threads.of_active(count)
        shared, memory = self._behind(to, threads.shared), self._behind(source, self.memories)
        demand((count >= 0) & (count <= 16) & (count % 2 == 0), "a copy of other than 0 to 16 bytes")
        places = memory.run_of(source, 8)
        read = np.arange(8) < count[:, None] // 2
        numbers = np.zeros(places.shape, np.uint16)
        owners = np.broadcast_to(threads.identity[threads.lanes][:, None], places.shape)
        numbers[read] = memory.load(places[read], owners[read])
        threads.begin_copy(shared, shared.run_of(to, 8), numbers)

    # What a warp does together

    def load_matrices(self, address: Any, *, transposed: bool) -> tuple[np.ndarray, ...]:
        threads = self.threads
        threads.demand_whole(LANES, "ldmatrix")
        addresses, lanes = threads.of_active(address), threads.lanes
        shared = self._behind(addresses, threads.shared)
        rows = shared.load(shared.run_of(addresses, 8), threads.block[lanes], threads.stamps(lanes))
        matrices = rows.reshape(-1, 4, 8, 8)  # warp, matrix, row, column
        matrices = matrices.swapaxes(2, 3) if transposed else matrices
        pairs = matrices.reshape(-1, 4, LANES, 2)
        return tuple(threads.to_all(_word(*np.moveaxis(pairs[:, m].reshape(-1, 2), 1, 0)), NOWHERE) for m in range(4))

    def multiply(self, decode: Callable[[Any], Any], *fragments: Any) -> tuple[np.ndarray, ...]:
        threads = self.threads
        threads.demand_whole(LANES, "a product of matrices")
        words = np.stack([threads.of_active(word) for word in fragments[:6]], -1)
        parts = decode(_halves(words)).reshape(-1, 8, 4, 6, 2)  # warp, g, c, word, half
        # A: g + 8 (word % 2), 2 c + half + 8 (word / 2). B: 2 c + half + 8 word, g.
        left = parts[..., :4, :].reshape(-1, 8, 4, 2, 2, 2).transpose(0, 4, 1, 3, 2, 5).reshape(-1, 16, 16)
        right = parts[..., 4:, :].transpose(0, 3, 2, 4, 1).reshape(-1, 16, 8)
        product = (left @ right).reshape(-1, 2, 8, 4, 2).transpose(0, 2, 3, 1, 4).reshape(-1, 4)  # thread, word
        sums = [threads.of_active(np.float32(c)) + product[:, n] for n, c in enumerate(fragments[6:])]
        return tuple(threads.to_all(values, POISON["float32"]) for values in sums)


def _is_float(value: Any) -> bool:
    return np.issubdtype(np.asarray(value).dtype, np.floating)


def _address(array: Memory | None, index: Any) -> Any:
    return index * array.numbers.itemsize + array.start if array is not None else index * 2


def _flushed(number: Any) -> Any:
    """Return the number, or 0 where it is below float32's normal range [.ftz]."""
    return np.where(np.abs(number) < SMALLEST_NORMAL, np.float32(0.0), number)


def _word(low: Any, high: Any) -> Any:
    return np.asarray(low, np.int64) | np.asarray(high, np.int64) << 16


def _halves(word: Any) -> np.ndarray:
    """Return the two halves of each word along a new last axis."""
    return np.ascontiguousarray(word, "<u4").reshape(*np.shape(word), 1).view("<u2")


def _bfloat16_to_float(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _float_to_bfloat16(number: Any) -> np.ndarray:
    bits = np.atleast_1d(np.float32(number)).view(np.uint32)
    rounded = ((bits.astype(np.int64) + 0x7FFF + (bits >> 16 & 1)) >> 16) & 0xFFFF
    return np.where(np.isnan(number), 0x7FFF, rounded)


def _float16_to_float(bits: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bits, np.uint16).view(np.float16).astype(np.float32)


def _float_to_float16(number: Any) -> np.ndarray:
    bits = np.atleast_1d(np.float32(number)).astype(np.float16).view(np.uint16)
    return np.where(np.isnan(number), 0x7FFF, bits)


FORMATS = {
    "bfloat16": (_bfloat16_to_float, _float_to_bfloat16),
    "float16": (_float16_to_float, _float_to_float16),
}
