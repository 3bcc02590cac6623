"""Backward on tensor cores, for lines that a block holds whole: all three gradients of an axis at once.

The terms are in `lines`, `short_lines` and `line_gradients`. `gradients_short_kernel` makes the kernel for a number
format.
"""

from numba import cuda, float32, int32, uint16, uint32

from ccnet_kernels.cuda import ptx
from ccnet_kernels.cuda.constants import LOG2_E
from ccnet_kernels.cuda.lines import ALIGNMENT, BYTES, PAD, clear, start_of_line
from ccnet_kernels.cuda.short_lines import (
    MOST,
    across,
    add_rows_by_rows,
    copy_rows,
    down,
    first_of_four,
    four_in_a_row,
    multiply_two,
)

SLICE = 32  # channels in shared memory at a time: with 64, a block would need more than the 99 KB of some devices
PITCH = SLICE + PAD
TILES = 4  # two of a stage and two of the next
SHARED = MOST * (MOST + PAD + TILES * PITCH) * BYTES
ENERGIES = MOST // 2  # numbers of a thread's accumulator
TOTALS = SLICE // 2


@cuda.jit(device=True, inline="always")
def add_weighted_tile(multiply, load, weights, step, tile, rows, totals):
    """Add to totals (16, SLICE) the weights (16, rows), read by `load` every `step` numbers, times a tile of rows."""
    for k in range(MOST // 16):
        if k * 16 < rows:
            a = load(uint32(weights + k * step * BYTES))
            for j in range(SLICE // 16):
                b = ptx.load_matrices_transposed(uint32(tile + (k * 16 * PITCH + j * 16) * BYTES))
                multiply_two(multiply, a[0], a[1], a[2], a[3], b, totals, j * 8)


def gradients_short_kernel(number):
    """Return the kernel for maps of this number format."""
    multiply, pack, low, high = number.multiply, number.pack, number.low, number.high

    @cuda.jit(device=True, inline="always")
    def add_to_result(totals, factor, result, start, length, step, channel, channels, first):
        """Write factor * totals (16, SLICE), added to what the axes before left there."""
        lane = int32(cuda.threadIdx.x & 31)
        upper = int32((cuda.threadIdx.x >> 5) * 16 + (lane >> 2))
        odd = (lane & 1) == 1
        for side in range(2):
            position = int32(upper + 8 * side)
            for j in range(SLICE // 16):
                i = j * 8 + 2 * side
                one, two, three, four = four_in_a_row(totals[i], totals[i + 1], totals[i + 4], totals[i + 5], odd)
                at = int32(channel + j * 16 + first_of_four(lane))
                if position < length and at < channels:
                    one, two, three, four = one * factor, two * factor, three * factor, four * factor
                    address = ptx.address_in_global(result, int32((start + position * step) * channels + at))
                    if not first:
                        pairs = ptx.load_two_pairs(address)
                        one += low(pairs[0])
                        two += high(pairs[0])
                        three += low(pairs[1])
                        four += high(pairs[1])
                    ptx.store_two_pairs(address, pack(one, two), pack(three, four))

    def gradients_short(
        query,
        key,
        value,
        gradient,
        log_sums,
        delta,
        scale,
        query_gradient,
        key_gradient,
        value_gradient,
        channels,
        value_channels,
        query_pitch,
        value_pitch,
        length,
        step,
        first,
        scaled,
    ):
        """Add to the three gradients what one axis of at most MOST positions gives them.

        query, key and their gradients (positions, channels) and value, gradient, value_gradient (positions,
        value_channels) are half precision, log_sums, delta (positions) and scale (1) float32. The `first` axis counts
        the position itself, and finds nothing in the gradients. The positions of query and of key lie `query_pitch`
        numbers apart, those of value `value_pitch`.

        Grid: a block for each line. Shared memory, given at launch: weights (rows, rows + PAD), one row for each
        position that sees, and TILES tiles of (rows, PITCH). A stage has two of them: slices of query and key give the
        energies and so the weights; slices of gradient and value give the gradient of value and the products of
        values, and these, with the weights, the slopes, which take the place of the weights; slices of query and key,
        once more, give their gradients.
        """
        memory = cuda.shared.array(0, uint16, alignment=ALIGNMENT)
        energies = cuda.local.array(ENERGIES, float32)
        totals = cuda.local.array(TOTALS, float32)
        lane = int32(cuda.threadIdx.x & 31)
        own, rows = int32((cuda.threadIdx.x >> 5) * 16), int32((cuda.blockDim.x >> 5) * 16)
        pitch = int32(rows + PAD)
        tiles, size = int32(rows * pitch), int32(rows * PITCH)
        start = int32(start_of_line(uint32(cuda.blockIdx.x), length, step))
        upper, column = int32(own + (lane >> 2)), int32((lane & 3) * 2)
        mine = ptx.address_in_shared(memory, int32(upper * pitch + column))  # of the weights, in pairs
        seeing = ptx.address_in_shared(memory, int32(own * pitch + across(lane, pitch)))  # rows of weights as they are
        seen = ptx.address_in_shared(memory, int32(own + down(lane, pitch)))  # columns of weights as rows
        factor = scale[0] if scaled else float32(1.0)

        narrow = int32(uint32(channels + SLICE - 1) // uint32(SLICE))
        wide = int32(uint32(value_channels + SLICE - 1) // uint32(SLICE))
        copy_rows(memory, tiles, SLICE, query, start, length, step, 0, channels, query_pitch)
        copy_rows(memory, tiles + size, SLICE, key, start, length, step, 0, channels, query_pitch)
        ptx.close_group()
        clear(energies, ENERGIES)
        stage, place = int32(0), tiles
        while stage < narrow + wide + narrow:
            ptx.wait_for_all_groups()
            cuda.syncthreads()
            following, next_place = int32(stage + 1), int32(2 * tiles + 2 * size - place)
            if following < narrow + wide + narrow:
                after = int32(following - narrow)
                values = after >= 0 and after < wide
                at = int32((after if values else (following if after < 0 else after - wide)) * SLICE)
                one, two = (gradient if values else query), (value if values else key)
                one_pitch = int32(value_channels if values else query_pitch)
                two_pitch = int32(value_pitch if values else query_pitch)
                count = int32(value_channels if values else channels)
                copy_rows(memory, next_place, SLICE, one, start, length, step, at, count, one_pitch)
                copy_rows(memory, next_place + size, SLICE, two, start, length, step, at, count, two_pitch)
            ptx.close_group()

            if stage < narrow + wide:
                left = ptx.address_in_shared(memory, int32(place + own * PITCH + across(lane, PITCH)))
                right = ptx.address_in_shared(memory, int32(place + size + down(lane, PITCH)))
                add_rows_by_rows(multiply, left, right, SLICE, rows, energies)
            if stage == narrow - 1:
                for side in range(2):
                    position = int32(upper + 8 * side)
                    log_sum = log_sums[start + int32(min(position, length - 1) * step)] * float32(LOG2_E)
                    for i in range(2 * side, ENERGIES, 4):
                        for n in range(2):
                            other = int32((i - 2 * side) * 2 + column + n)
                            counts = (position < length) & (other < length) & ((first != 0) | (other != position))
                            weight = ptx.exp2(energies[i + n] * float32(LOG2_E) - log_sum)
                            energies[i + n] = weight if counts else float32(0.0)
                for j in range(MOST // 16):
                    if j * 16 < rows:
                        for i in range(j * 8, j * 8 + 8, 2):
                            address = uint32(mine + ((i // 2 % 2) * 8 * pitch + i // 4 * 8) * BYTES)
                            ptx.store_pair_shared(address, pack(energies[i], energies[i + 1]))
                clear(energies, ENERGIES)
            elif narrow <= stage and stage < narrow + wide:
                clear(totals, TOTALS)
                tile = ptx.address_in_shared(memory, int32(place + across(lane, PITCH)))
                add_weighted_tile(multiply, ptx.load_matrices_transposed, seen, int32(16 * pitch), tile, rows, totals)
                at = int32((stage - narrow) * SLICE)
                add_to_result(totals, factor, value_gradient, start, length, step, at, value_channels, first)
            elif stage >= narrow + wide:
                if stage == narrow + wide:
                    upper_delta = delta[start + int32(min(upper, length - 1) * step)]
                    lower_delta = delta[start + int32(min(upper + 8, length - 1) * step)]
                    for j in range(MOST // 16):
                        if j * 16 < rows:
                            for i in range(j * 8, j * 8 + 8, 2):
                                address = uint32(mine + ((i // 2 % 2) * 8 * pitch + i // 4 * 8) * BYTES)
                                weights = ptx.load_pair_shared(address)
                                own_delta = lower_delta if i // 2 % 2 else upper_delta
                                one = low(weights) * (energies[i] - own_delta)
                                two = high(weights) * (energies[i + 1] - own_delta)
                                ptx.store_pair_shared(address, pack(one, two))
                    cuda.syncthreads()
                at = int32((stage - narrow - wide) * SLICE)
                clear(totals, TOTALS)
                tile = ptx.address_in_shared(memory, int32(place + size + across(lane, PITCH)))
                add_weighted_tile(multiply, ptx.load_matrices, seeing, 16, tile, rows, totals)
                add_to_result(totals, factor, query_gradient, start, length, step, at, channels, first)
                clear(totals, TOTALS)
                tile = ptx.address_in_shared(memory, int32(place + across(lane, PITCH)))
                add_weighted_tile(multiply, ptx.load_matrices_transposed, seen, int32(16 * pitch), tile, rows, totals)
                add_to_result(totals, factor, key_gradient, start, length, step, at, channels, first)
            stage, place = following, next_place

    return gradients_short
