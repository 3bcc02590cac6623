"""Forward on tensor cores, for lines that a block holds whole: each energy and each weight is computed once.

The terms are in `lines` and `short_lines`. `attend_short_kernel` makes the kernel for a number format.
"""

import math

from numba import cuda, float32, int32, uint16, uint32

from ccnet_kernels.cuda import ptx
from ccnet_kernels.cuda.constants import LN_2, LOG2_E, LOWEST
from ccnet_kernels.cuda.lines import ALIGNMENT, BYTES, PAD, SLICE, WHOLE_WARP, clear, start_of_line
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

PITCH = SLICE + PAD
TILES = 4  # in shared memory: query and key of one slice and the next, then values
SHARED = TILES * MOST * PITCH * BYTES
ENERGIES = MOST // 2  # numbers of a thread's accumulator
WEIGHTS = ENERGIES // 2  # words of two numbers
TOTALS = SLICE // 2


def attend_short_kernel(number):
    """Return the kernel for maps of this number format."""
    multiply, pack, low, high = number.multiply, number.pack, number.low, number.high

    def attend_short(
        query,
        key,
        value,
        earlier_log_sums,
        log_sums,
        attended,
        scale,
        residual,
        output,
        query_channels,
        value_channels,
        query_pitch,
        value_pitch,
        span,
        length,
        step,
        first,
        last,
        scaled,
        added,
        kept,
    ):
        """Attend along one axis, as `line_attention.attend` does, of at most MOST positions.

        The positions of query and of key lie `query_pitch` numbers apart, those of value `value_pitch`: they may be
        channels of one map.

        Grid: lines x spans of `span` value channels, a multiple of SLICE, span fastest. Shared memory, given at launch:
        TILES tiles of (rows, PITCH). Energies come first, from slices of query and key; then the weights stay in
        registers while slices of value pass, two of them copied ahead.
        """
        memory = cuda.shared.array(0, uint16, alignment=ALIGNMENT)
        energies = cuda.local.array(ENERGIES, float32)
        weights = cuda.local.array(WEIGHTS, uint32)
        totals = cuda.local.array(TOTALS, float32)
        highest, sums = cuda.local.array(2, float32), cuda.local.array(2, float32)
        before, now = cuda.local.array(2, float32), cuda.local.array(2, float32)
        lane = int32(cuda.threadIdx.x & 31)
        own, rows = int32((cuda.threadIdx.x >> 5) * 16), int32((cuda.blockDim.x >> 5) * 16)
        size = int32(rows * PITCH)
        spans = uint32(value_channels + span - 1) // uint32(span)
        line, piece = uint32(uint32(cuda.blockIdx.x) // uint32(spans)), uint32(uint32(cuda.blockIdx.x) % uint32(spans))
        first_channel = int32(piece * uint32(span))
        end = int32(min(first_channel + span, value_channels))
        start = int32(start_of_line(line, length, step))
        upper, column = int32(own + (lane >> 2)), int32((lane & 3) * 2)
        odd, four = (lane & 1) == 1, int32(first_of_four(lane))
        left, right = int32(own * PITCH + across(lane, PITCH)), int32(down(lane, PITCH))

        clear(energies, ENERGIES)
        copy_rows(memory, 0, SLICE, query, start, length, step, 0, query_channels, query_pitch)
        copy_rows(memory, size, SLICE, key, start, length, step, 0, query_channels, query_pitch)
        ptx.close_group()
        channel, pair = int32(0), int32(0)
        while channel < query_channels:
            other = int32(2 - pair)
            following = int32(channel + SLICE)
            if following < query_channels:
                copy_rows(
                    memory, other * size, SLICE, query, start, length, step, following, query_channels, query_pitch
                )
                copy_rows(
                    memory, (other + 1) * size, SLICE, key, start, length, step, following, query_channels, query_pitch
                )
                ptx.close_group()
            else:
                copy_rows(
                    memory, other * size, SLICE, value, start, length, step, first_channel, value_channels, value_pitch
                )
                ptx.close_group()
                if first_channel + SLICE < end:
                    at = int32(first_channel + SLICE)
                    copy_rows(
                        memory, (other + 1) * size, SLICE, value, start, length, step, at, value_channels, value_pitch
                    )
            ptx.close_group()
            ptx.wait_for_all_groups_but_two()
            cuda.syncthreads()
            queries = ptx.address_in_shared(memory, int32(pair * size + left))
            keys = ptx.address_in_shared(memory, int32((pair + 1) * size + right))
            add_rows_by_rows(multiply, queries, keys, SLICE, rows, energies)
            cuda.syncthreads()
            channel, pair = following, other

        for side in range(2):
            highest[side], sums[side] = float32(LOWEST), float32(0.0)
            for i in range(2 * side, ENERGIES, 4):
                for n in range(2):
                    position = int32((i - 2 * side) * 2 + column + n)
                    energies[i + n] *= float32(LOG2_E)
                    if position >= length or (not first and position == upper + 8 * side):
                        energies[i + n] = float32(-math.inf)
                    highest[side] = ptx.maximum(highest[side], energies[i + n])
            for lanes in (1, 2):  # the four lanes of a row
                highest[side] = ptx.maximum(highest[side], cuda.shfl_xor_sync(WHOLE_WARP, highest[side], lanes))
            for i in range(2 * side, ENERGIES, 4):
                for n in range(2):
                    energies[i + n] = ptx.exp2(energies[i + n] - highest[side])
                    sums[side] += energies[i + n]
            for lanes in (1, 2):
                sums[side] += cuda.shfl_xor_sync(WHOLE_WARP, sums[side], lanes)
        for i in range(WEIGHTS):
            weights[i] = pack(energies[2 * i], energies[2 * i + 1])

        for side in range(2):
            position = int32(upper + 8 * side)
            before[side], now[side] = float32(0.0), float32(1.0)
            if position < length:
                pixel = int32(start + position * step)
                if not first:
                    earlier = earlier_log_sums[pixel] * float32(LOG2_E)
                    higher = ptx.maximum(highest[side], earlier)
                    before[side], now[side] = ptx.exp2(earlier - higher), ptx.exp2(highest[side] - higher)
                    highest[side], sums[side] = higher, before[side] + now[side] * sums[side]
                if piece == 0 and column == 0:
                    log_sums[pixel] = (highest[side] + ptx.log2(sums[side])) * float32(LN_2)
            inverse = float32(1.0) / sums[side]
            if sums[side] == float32(0.0) and not last:
                inverse = float32(0.0)  # nothing to see on this axis; a later one may see something
            before[side] *= inverse
            now[side] *= inverse

        channel, turn = first_channel, pair
        while channel < end:
            ptx.wait_for_all_groups_but_one()
            cuda.syncthreads()
            if channel + 2 * SLICE < end:
                following = int32(channel + 2 * SLICE)
                place = int32(((turn + 2) & 3) * size)
                copy_rows(memory, place, SLICE, value, start, length, step, following, value_channels, value_pitch)
            ptx.close_group()
            clear(totals, TOTALS)
            values = ptx.address_in_shared(memory, int32((turn & 3) * size + across(lane, PITCH)))
            for k in range(MOST // 16):
                if k * 16 < rows:
                    a0, a1, a2, a3 = weights[4 * k], weights[4 * k + 1], weights[4 * k + 2], weights[4 * k + 3]
                    for j in range(SLICE // 16):
                        b = ptx.load_matrices_transposed(uint32(values + (k * 16 * PITCH + j * 16) * BYTES))
                        multiply_two(multiply, a0, a1, a2, a3, b, totals, j * 8)
            for side in range(2):
                position = int32(upper + 8 * side)
                for j in range(SLICE // 16):
                    i = j * 8 + 2 * side
                    one, two, three, last_one = four_in_a_row(
                        totals[i], totals[i + 1], totals[i + 4], totals[i + 5], odd
                    )
                    at = int32(channel + j * 16 + four)
                    if position < length and at < value_channels:
                        index = int32((start + position * step) * value_channels + at)
                        one, two, three, last_one = (
                            one * now[side],
                            two * now[side],
                            three * now[side],
                            last_one * now[side],
                        )
                        if not first:
                            pairs = ptx.load_two_pairs(ptx.address_in_global(attended, index))
                            one += low(pairs[0]) * before[side]
                            two += high(pairs[0]) * before[side]
                            three += low(pairs[1]) * before[side]
                            last_one += high(pairs[1]) * before[side]
                        if kept or not last:
                            address = ptx.address_in_global(attended, index)
                            ptx.store_two_pairs(address, pack(one, two), pack(three, last_one))
                        if last:
                            if scaled:
                                factor = scale[0]
                                one, two, three, last_one = (
                                    one * factor,
                                    two * factor,
                                    three * factor,
                                    last_one * factor,
                                )
                            if added:
                                pairs = ptx.load_two_pairs(ptx.address_in_global(residual, index))
                                one += low(pairs[0])
                                two += high(pairs[0])
                                three += low(pairs[1])
                                last_one += high(pairs[1])
                            address = ptx.address_in_global(output, index)
                            ptx.store_two_pairs(address, pack(one, two), pack(three, last_one))
            channel, turn = int32(channel + SLICE), int32(turn + 1)

    return attend_short
