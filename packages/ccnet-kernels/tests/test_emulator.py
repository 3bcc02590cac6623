"""The emulator: instructions against their definition, and one tiny kernel for everything that it must refuse."""

import math

import pytest
import torch
from emulated_memory import EmulationError
from emulator import launch
from numba import cuda, float32, int32, uint16, uint32

from ccnet_kernels.cuda import ptx

NAN = float("nan")
NUMBERS = pytest.mark.parametrize(
    ("number", "dtype"), [(ptx.BFLOAT16, torch.bfloat16), (ptx.FLOAT16, torch.float16)], ids=["bfloat16", "float16"]
)


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def empty(*shape, dtype=torch.float32):
    return torch.full(shape, NAN, dtype=dtype)


# Instructions


@NUMBERS
def test_multiply_is_the_product_of_the_fragments_that_the_manual_names(number, dtype):
    left, right = random(16, 16, dtype=dtype), random(16, 8, dtype=dtype)
    fragments, expected = empty(32, 12, dtype=dtype), empty(32, 4)
    product = left.float() @ right.float()
    for lane in range(32):
        group, in_group = lane // 4, lane % 4
        for i in range(8):  # "a_i", "b_i", "c_i" of mma.m16n8k16 in the PTX ISA
            row = group if i in (0, 1, 4, 5) else group + 8
            fragments[lane, i] = left[row, in_group * 2 + (i & 1) + (8 if i >= 4 else 0)]
        for i in range(4):
            fragments[lane, 8 + i] = right[in_group * 2 + (i & 1) + (8 if i >= 2 else 0), group]
            expected[lane, i] = product[group + (8 if i >= 2 else 0), in_group * 2 + (i & 1)] + i

    def multiply(fragments, result):
        lane = cuda.threadIdx.x
        words = cuda.local.array(6, uint32)
        for n in range(6):
            words[n] = ptx.load_pair(ptx.address_in_global(fragments, lane * 12 + n * 2))
        zero, one, two, three = float32(0.0), float32(1.0), float32(2.0), float32(3.0)
        d = number.multiply(words[0], words[1], words[2], words[3], words[4], words[5], zero, one, two, three)
        for n in range(4):
            result[lane * 4 + n] = d[n]

    result = empty(32, 4)
    launch(multiply, 1, 32, (fragments, result))
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_load_matrices_deals_four_matrices_to_the_lanes(transposed):
    load = ptx.load_matrices_transposed if transposed else ptx.load_matrices

    def deal(source, result):
        tile = cuda.shared.array(256, uint16, alignment=16)
        lane = cuda.threadIdx.x
        address = ptx.address_in_shared(tile, lane * 8)
        ptx.copy_async(address, ptx.address_in_global(source, lane * 8), uint32(16))
        ptx.close_group()
        ptx.wait_for_all_groups()
        cuda.syncthreads()
        words = load(address)
        for n in range(4):
            ptx.store_pair(ptx.address_in_global(result, lane * 8 + n * 2), words[n])

    matrices = random(4, 8, 8, dtype=torch.bfloat16)
    result = empty(32, 4, 2, dtype=torch.bfloat16)
    launch(deal, 1, 32, (matrices, result))
    for lane in range(32):
        for n in range(4):
            for half in range(2):
                row, column = lane // 4, lane % 4 * 2 + half
                expected = matrices[n, column, row] if transposed else matrices[n, row, column]
                assert result[lane, n, half] == expected


@NUMBERS
def test_pack_rounds_as_torch_does_and_low_and_high_give_it_back(number, dtype):
    ties = torch.tensor([1 + 2.0**-9, 1 + 3 * 2.0**-9, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11])
    odd = torch.tensor(
        [0.0, -0.0, 3.4e38, -3.4e38, 65504, 65519, 65520, math.inf, -math.inf, NAN, 1e-7, 6e-8, 1e-39, 0.1]
    )
    given = torch.cat([ties, odd, random(44)])

    def convert(source, pairs, floats):
        at = cuda.threadIdx.x * 2
        pair = number.pack(source[at], source[at + 1])
        ptx.store_pair(ptx.address_in_global(pairs, at), pair)
        floats[at] = number.low(pair)
        floats[at + 1] = number.high(pair)

    pairs, floats = empty(64, dtype=dtype), empty(64)
    launch(convert, 1, 32, (given, pairs, floats))
    torch.testing.assert_close(pairs, given.to(dtype), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(floats, given.to(dtype).float(), rtol=0, atol=0, equal_nan=True)


def test_copies_fill_with_zeros_what_they_do_not_read():
    def copy(source, result):
        tile = cuda.shared.array(256, uint16, alignment=16)
        lane = cuda.threadIdx.x
        address = ptx.address_in_shared(tile, lane * 8)
        ptx.copy_async(address, ptx.address_in_global(source, 0), uint32(6 if lane < 1 else 0))
        ptx.close_group()
        ptx.wait_for_all_groups()
        cuda.syncthreads()
        words = ptx.load_matrices(address)
        if lane < 4:
            ptx.store_pair(ptx.address_in_global(result, lane * 2), words[0])

    result = empty(8, dtype=torch.bfloat16)
    launch(copy, 1, 32, (torch.arange(1, 9).bfloat16(), result))
    assert result.tolist() == [1, 2, 3, 0, 0, 0, 0, 0]


def test_float32_rounds_overflows_and_vanishes_as_on_the_device():
    def compute(source, result):
        number = source[cuda.threadIdx.x]
        big = float32(3e38) + number * float32(0.0)
        small = cuda.local.array(1, float32)
        small[0] = big * float32(10.0)
        if cuda.threadIdx.x == 0:
            result[0] = small[0]
            result[1] = ptx.exp2(float32(128.0))
            result[2] = ptx.exp2(float32(-127.0))
            result[3] = ptx.maximum(float32(math.nan), float32(1.0))
            result[4] = float32(16777216.0) + float32(1.0)
            result[5] = ptx.log2(float32(0.0))
            result[6] = math.exp(float32(89.0))
            result[7] = max(float32(math.nan), float32(2.0))

    result = empty(8)
    launch(compute, 1, 32, (torch.ones(32), result))
    assert result.tolist() == [math.inf, math.inf, 0.0, 1.0, 16777216.0, -math.inf, math.inf, 2.0]


def test_shuffles_exchange_between_lanes_of_one_warp():
    def shuffle(result):
        result[cuda.threadIdx.x] = float32(cuda.shfl_xor_sync(0xFFFFFFFF, cuda.threadIdx.x, 5))

    result = empty(64)
    launch(shuffle, 1, 64, (result,))
    assert result.tolist() == [(thread ^ 5) for thread in range(64)]


# Threads that take different ways


def test_each_thread_takes_its_own_branches_and_rounds():
    def walk(source, result, count):
        thread = cuda.threadIdx.x
        total = float32(0.0)
        for n in range(thread, count, 7):
            if n % 2 == 0 and source[n] != source[n]:
                total += float32(n)
            elif n == 3:
                total -= float32(100.0)
        left = int32(thread)
        while left > 5:
            left = int32(left - 3)
            total += float32(0.5) if left > 9 else float32(0.25)
        if thread < count:
            result[thread] = total

    def expected(thread, count):
        total = sum(n if n % 2 == 0 else -100 if n == 3 else 0 for n in range(thread, count, 7))
        while thread > 5:
            thread -= 3
            total += 0.5 if thread > 9 else 0.25
        return total

    result = empty(40)
    launch(walk, 1, 64, (empty(40), result, 40))
    assert result.tolist() == [expected(thread, 40) for thread in range(40)]


# What it must refuse


def reads_beyond(given, result):
    result[cuda.threadIdx.x] = given[cuda.threadIdx.x + 1]


def reads_before(given, result):
    result[cuda.threadIdx.x] = given[cuda.threadIdx.x - 1]


def writes_beyond(given, result):
    result[cuda.threadIdx.x + 2] = float32(0.0)


def copies_beyond(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    thread = cuda.threadIdx.x
    ptx.copy_async(ptx.address_in_shared(tile, thread * 8), ptx.address_in_global(given, thread * 8), uint32(16))


def leaves_a_shared_array(given, result):
    tile = cuda.shared.array((2, 64), float32)
    tile[1, cuda.threadIdx.x + 1] = float32(0.0)


def leaves_a_local_array(given, result):
    own = cuda.local.array(2, float32)
    for n in range(3):
        own[n] = float32(0.0)


def reads_a_null_pointer(given, result):
    result[cuda.threadIdx.x] = given[0]


def has_an_odd_address(given, result):
    result[cuda.threadIdx.x] = float32(ptx.BFLOAT16.low(ptx.load_pair(ptx.address_in_global(given, 1))))


def copies_to_an_array_of_loose_alignment(given, result):
    tile = cuda.shared.array(512, uint16)
    thread = cuda.threadIdx.x
    ptx.copy_async(ptx.address_in_shared(tile, thread * 8), ptx.address_in_global(given, 0), uint32(16))


def loads_matrices_from_an_odd_row(given, result):
    tile = cuda.shared.array(1024, uint16, alignment=16)
    ptx.load_matrices(ptx.address_in_shared(tile, cuda.threadIdx.x * 8 + 4))


def reads_what_nobody_wrote(given, result):
    tile = cuda.shared.array(64, float32)
    result[cuda.threadIdx.x] = tile[cuda.threadIdx.x]


def does_not_wait(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    address = ptx.address_in_shared(tile, cuda.threadIdx.x * 8)
    ptx.copy_async(address, ptx.address_in_global(given, 0), uint32(16))
    ptx.close_group()
    cuda.syncthreads()
    ptx.load_matrices(address)


def waits_for_too_little(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    address = ptx.address_in_shared(tile, cuda.threadIdx.x * 8)
    ptx.copy_async(address, ptx.address_in_global(given, 0), uint32(16))
    ptx.close_group()
    ptx.wait_for_all_groups_but_one()
    ptx.load_matrices(address)


def forgets_to_close_the_group(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    address = ptx.address_in_shared(tile, cuda.threadIdx.x * 8)
    ptx.copy_async(address, ptx.address_in_global(given, 0), uint32(16))
    ptx.wait_for_all_groups()
    ptx.load_matrices(address)


def ends_before_its_copies(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    thread = cuda.threadIdx.x
    ptx.copy_async(ptx.address_in_shared(tile, thread * 8), ptx.address_in_global(given, 0), uint32(16))
    ptx.close_group()


def reads_another_warps_copy_without_a_barrier(given, result):
    tile = cuda.shared.array(512, uint16, alignment=16)
    thread = cuda.threadIdx.x
    ptx.copy_async(ptx.address_in_shared(tile, thread * 8), ptx.address_in_global(given, 0), uint32(16))
    ptx.close_group()
    ptx.wait_for_all_groups()
    ptx.load_matrices(ptx.address_in_shared(tile, (thread ^ 32) * 8))


def reads_another_warp_without_a_barrier(given, result):
    tile = cuda.shared.array(64, float32)
    tile[cuda.threadIdx.x] = float32(1.0)
    result[cuda.threadIdx.x] = tile[cuda.threadIdx.x ^ 32]


def overwrites_what_another_warp_reads(given, result):
    tile = cuda.shared.array(64, float32)
    tile[cuda.threadIdx.x] = float32(1.0)
    cuda.syncthreads()
    result[cuda.threadIdx.x] = tile[0]
    tile[cuda.threadIdx.x] = float32(2.0)


def overwrites_what_another_warp_wrote(given, result):
    tile = cuda.shared.array(64, float32)
    tile[cuda.threadIdx.x] = float32(1.0)
    tile[cuda.threadIdx.x ^ 32] = float32(2.0)


def writes_one_element_from_every_thread(given, result):
    tile = cuda.shared.array(1, float32)
    tile[0] = float32(cuda.threadIdx.x)


def has_a_barrier_for_half_a_block(given, result):
    if cuda.threadIdx.x < 32:
        cuda.syncthreads()


def shuffles_in_half_a_warp(given, result):
    if cuda.threadIdx.x & 1 == 0:
        cuda.shfl_xor_sync(0xFFFFFFFF, cuda.threadIdx.x, 2)


def writes_from_every_block(given, result):
    result[cuda.threadIdx.x] = float32(1.0)


def reads_what_another_block_writes(given, result):
    number = result[64 - cuda.threadIdx.x]
    result[cuda.threadIdx.x] = number


def computes_in_float64(given, result):
    result[cuda.threadIdx.x] = float32(float32(1.0) * 0.5)


def overflows_int32(given, result):
    result[int32(cuda.threadIdx.x * 1073741824)] = float32(0.0)


def indexes_a_local_array_by_thread(given, result):
    own = cuda.local.array(64, float32)
    own[cuda.threadIdx.x] = float32(0.0)


def returns_early(given, result):
    if cuda.threadIdx.x > 3:
        return


def breaks(given, result):
    for _ in range(3):
        break


def calls_what_is_unknown(given, result):
    cuda.syncwarp()


BARRIER = "two warps without a barrier between"
REFUSED = {
    reads_beyond: r"argument 0\[64\] is out of bounds, it has 64 elements",
    reads_before: r"argument 0\[-1\] is out of bounds",
    writes_beyond: r"argument 1\[65\] is out of bounds, it has 65 elements",
    copies_beyond: r"argument 0\[\d+\] is out of bounds",
    leaves_a_shared_array: r"shared array 1\[64\] is out of bounds",
    leaves_a_local_array: r"local\[2\] is out of bounds",
    has_an_odd_address: "argument 0 is not a multiple of 4",
    copies_to_an_array_of_loose_alignment: "shared array 1 is not a multiple of 16",
    loads_matrices_from_an_odd_row: "shared array 1 is not a multiple of 16",
    reads_what_nobody_wrote: "read where nothing was written",
    does_not_wait: "a copy has not been waited for",
    waits_for_too_little: "a copy has not been waited for",
    forgets_to_close_the_group: "a copy has not been waited for",
    ends_before_its_copies: "ends before its copies have arrived",
    reads_another_warps_copy_without_a_barrier: f"written and read by {BARRIER}",
    reads_another_warp_without_a_barrier: f"written and read by {BARRIER}",
    overwrites_what_another_warp_reads: f"read and written by {BARRIER}",
    overwrites_what_another_warp_wrote: f"written twice by {BARRIER}",
    writes_one_element_from_every_thread: "two threads write one element at once",
    has_a_barrier_for_half_a_block: "a barrier that not all threads reach",
    shuffles_in_half_a_warp: "a shuffle that not all threads reach",
    writes_from_every_block: "argument 1: an element is written by two threads",
    reads_what_another_block_writes: "read by one thread and written by another",
    computes_in_float64: "float64 arithmetic",
    overflows_int32: "does not fit into int32",
    indexes_a_local_array_by_thread: "index a local array differently",
    returns_early: "a return that only some threads reach",
    breaks: "is not emulated",
    calls_what_is_unknown: "is not emulated",
}


@pytest.mark.parametrize("kernel", REFUSED, ids=lambda kernel: kernel.__name__)
def test_it_refuses_a_kernel_that(kernel):
    given = torch.zeros(64, dtype=torch.bfloat16 if "ptx" in kernel.__code__.co_names else torch.float32)
    blocks = 2 if kernel is writes_from_every_block else 1
    with pytest.raises(EmulationError, match=REFUSED[kernel]):
        launch(kernel, blocks, 64, (given, torch.zeros(65)))


def test_an_error_names_the_line():
    with pytest.raises(EmulationError) as caught:
        launch(reads_beyond, 1, 64, (torch.zeros(64), torch.zeros(64)))
    line = reads_beyond.__code__.co_firstlineno + 1
    assert caught.value.__notes__ == [
        f"test_emulator.py:{line}: result[cuda.threadIdx.x] = given[cuda.threadIdx.x + 1]"
    ]


def test_it_refuses_a_null_pointer_and_tensors_that_share_a_part():
    with pytest.raises(EmulationError, match="null pointer"):
        launch(reads_a_null_pointer, 1, 32, (None, torch.zeros(32)))
    whole = torch.zeros(65)
    with pytest.raises(EmulationError, match="share a part"):
        launch(writes_from_every_block, 1, 32, (whole[:40], whole[20:]))


def test_barriers_make_an_exchange_between_warps_right():
    def exchange(result):
        tile = cuda.shared.array(64, float32)
        for turn in range(3):
            tile[cuda.threadIdx.x] = float32(cuda.threadIdx.x + turn)
            cuda.syncthreads()
            number = tile[cuda.threadIdx.x ^ 32]
            cuda.syncthreads()
        result[cuda.threadIdx.x] = number

    result = empty(64)
    launch(exchange, 1, 64, (result,))
    assert result.tolist() == [(thread ^ 32) + 2 for thread in range(64)]


# Shared memory of a launch, words of four numbers, maps that lie in a wider one


def swaps_neighbours(given, result):
    memory = cuda.shared.array(0, uint16, alignment=16)
    thread = cuda.threadIdx.x
    one, two = ptx.load_two_pairs(ptx.address_in_global(given, thread * 8))
    ptx.store_pair_shared(ptx.address_in_shared(memory, thread * 2), one)
    cuda.syncthreads()
    other = ptx.load_pair_shared(ptx.address_in_shared(memory, (cuda.blockDim.x - 1 - thread) * 2))
    ptx.store_two_pairs(ptx.address_in_global(result, thread * 4), two, other)


def test_shared_memory_of_the_launch_and_words_of_four_numbers():
    wide = random(64, 8, dtype=torch.bfloat16)
    given, result = wide[:, 4:], empty(64, 4, dtype=torch.bfloat16)
    launch(swaps_neighbours, 1, 64, (given, result), 256)
    assert torch.equal(result[:, :2], given[:, 2:])
    assert torch.equal(result[:, 2:], given.flip(0)[:, :2])


def test_shared_memory_beyond_that_of_the_launch_is_refused():
    with pytest.raises(EmulationError, match="is out of bounds, it has 124 elements"):
        launch(swaps_neighbours, 1, 64, (random(64, 8, dtype=torch.bfloat16), empty(64, 4, dtype=torch.bfloat16)), 248)


def test_four_numbers_from_an_address_that_8_does_not_divide_are_refused():
    given = random(64, 8, dtype=torch.bfloat16)[:, 2:]
    with pytest.raises(EmulationError, match="is not a multiple of 8"):
        launch(swaps_neighbours, 1, 64, (given, empty(64, 4, dtype=torch.bfloat16)), 256)
