"""Forward on tensor cores: attention along one axis, merged with what the axes before it gave.

The terms are in `lines`. `attend_kernel` makes the kernel for a number format.
"""

import math

from numba import cuda, float32, int32, uint16

from ccnet_kernels.cuda import ptx
from ccnet_kernels.cuda.constants import LN_2, LOG2_E, LOWEST
from ccnet_kernels.cuda.lines import (
    ALIGNMENT,
    CHANNELS,
    HERE_TILE,
    ROUND,
    SLICE,
    THERE_TILE,
    TWO_HERE_TILES,
    TWO_THERE_TILES,
    TWO_VALUE_TILES,
    VALUE_TILE,
    WHOLE_WARP,
    add_rows_by_rows,
    add_weighted_rows,
    clear,
    copy_stage,
    place_of_block,
    start_of_line,
)

ENERGIES = ROUND // 2  # numbers of a thread's accumulator
TOTALS = CHANNELS // 2


def attend_kernel(number):
    """Return the kernel for maps of this number format."""
    multiply, pack, low, high = number.multiply, number.pack, number.low, number.high

    def attend(
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
        length,
        step,
        first,
        last,
        scaled,
        added,
        kept,
    ):
        """Attend along one axis.

        query, key (positions, query_channels) and value, attended, residual, output (positions, value_channels) are
        half precision; log_sums, earlier_log_sums (positions) and scale (1) float32.

        The `first` axis counts the pixel itself; every later one leaves it out, and merges with `attended` and
        `earlier_log_sums` of the axes before. `attended` is written where `kept`, and before the `last` axis. The last
        axis writes output = scale * attended + residual, without the parts that are not `scaled` or `added`.

        Grid: lines x tiles of ROWS positions x chunks of CHANNELS channels, chunk fastest. The next round's tiles are
        copied while this round is computed; softmax keeps a running maximum and sum.
        """
        queries = cuda.shared.array(TWO_HERE_TILES, uint16, alignment=ALIGNMENT)
        keys = cuda.shared.array(TWO_THERE_TILES, uint16, alignment=ALIGNMENT)
        values = cuda.shared.array(TWO_VALUE_TILES, uint16, alignment=ALIGNMENT)
        energies = cuda.local.array(ENERGIES, float32)
        totals = cuda.local.array(TOTALS, float32)
        lane = int32(cuda.threadIdx.x & 31)
        line, row, channel = place_of_block(cuda.blockIdx.x, length, value_channels, CHANNELS)
        start = start_of_line(line, length, step)
        upper = int32(row + (cuda.threadIdx.x >> 5) * 16 + (lane >> 2))
        column = int32((lane & 3) * 2)

        clear(totals, TOTALS)
        upper_highest, lower_highest = float32(LOWEST), float32(LOWEST)
        upper_sum, lower_sum = float32(0.0), float32(0.0)
        shared, maps = (queries, keys, values), (query, key, value)
        place_in_line, counts = (start, row, length, step), (channel, query_channels, value_channels)
        copy_stage(shared, maps, place_in_line, counts, 0, 0, 0, 0)
        part, seen, turn, value_turn = int32(0), int32(0), int32(0), int32(0)
        while seen < length:
            next_part, next_seen, next_value_turn = int32(part + 1), seen, value_turn
            if next_part * SLICE >= query_channels:
                next_part, next_seen, next_value_turn = int32(0), int32(seen + ROUND), int32(1 - value_turn)
            if next_seen < length:
                copy_stage(shared, maps, place_in_line, counts, next_part, next_seen, int32(1 - turn), next_value_turn)
                ptx.wait_for_all_groups_but_one()
            else:
                ptx.wait_for_all_groups()
            cuda.syncthreads()

            if part == 0:
                clear(energies, ENERGIES)
            query_place = int32(turn * HERE_TILE) if query_channels > SLICE else int32(0)
            add_rows_by_rows(multiply, queries, query_place, keys, int32(turn * THERE_TILE), ROUND, energies)
            if next_part == 0:
                upper_higher, lower_higher = upper_highest, lower_highest
                for i in range(0, ENERGIES, 4):
                    for n in range(2):
                        position = int32(seen + i * 2 + column + n)
                        outside = position >= length
                        energies[i + n] *= float32(LOG2_E)
                        energies[i + 2 + n] *= float32(LOG2_E)
                        if outside or (not first and position == upper):
                            energies[i + n] = float32(-math.inf)
                        if outside or (not first and position == upper + 8):
                            energies[i + 2 + n] = float32(-math.inf)
                        upper_higher = ptx.maximum(upper_higher, energies[i + n])
                        lower_higher = ptx.maximum(lower_higher, energies[i + 2 + n])
                for lanes in (1, 2):  # the four lanes of a row
                    upper_higher = ptx.maximum(upper_higher, cuda.shfl_xor_sync(WHOLE_WARP, upper_higher, lanes))
                    lower_higher = ptx.maximum(lower_higher, cuda.shfl_xor_sync(WHOLE_WARP, lower_higher, lanes))
                upper_fade = ptx.exp2(upper_highest - upper_higher)
                lower_fade = ptx.exp2(lower_highest - lower_higher)
                upper_highest, lower_highest = upper_higher, lower_higher
                upper_sum *= upper_fade
                lower_sum *= lower_fade
                for i in range(0, TOTALS, 4):
                    for n in range(2):
                        totals[i + n] *= upper_fade
                        totals[i + 2 + n] *= lower_fade
                for i in range(0, ENERGIES, 4):
                    for n in range(2):
                        energies[i + n] = ptx.exp2(energies[i + n] - upper_highest)
                        energies[i + 2 + n] = ptx.exp2(energies[i + 2 + n] - lower_highest)
                        upper_sum += energies[i + n]
                        lower_sum += energies[i + 2 + n]
                place = int32(value_turn * VALUE_TILE)
                add_weighted_rows(multiply, pack, energies, ROUND, values, place, CHANNELS, totals)
            part, seen, turn, value_turn = next_part, next_seen, int32(1 - turn), next_value_turn
            cuda.syncthreads()

        for lanes in (1, 2):
            upper_sum += cuda.shfl_xor_sync(WHOLE_WARP, upper_sum, lanes)
            lower_sum += cuda.shfl_xor_sync(WHOLE_WARP, lower_sum, lanes)
        for side in range(2):
            position = int32(upper + side * 8)
            if position < length:
                pixel = start + int32(position * step)
                highest = lower_highest if side else upper_highest
                total = lower_sum if side else upper_sum
                before, now = float32(0.0), float32(1.0)
                if not first:
                    earlier = earlier_log_sums[pixel] * float32(LOG2_E)
                    higher = ptx.maximum(highest, earlier)
                    before, now = ptx.exp2(earlier - higher), ptx.exp2(highest - higher)
                    highest, total = higher, before + now * total
                if channel == 0 and column == 0:
                    log_sums[pixel] = (highest + ptx.log2(total)) * float32(LN_2)
                inverse = float32(1.0) / total
                if total == float32(0.0) and not last:
                    inverse = float32(0.0)  # nothing to see on this axis; a later one may see something
                before *= inverse
                now *= inverse
                for i in range(0, TOTALS, 4):
                    at = int32(channel + i * 2 + column)
                    if at < value_channels:
                        index = pixel * value_channels + at
                        one, two = totals[i + 2 * side] * now, totals[i + 2 * side + 1] * now
                        if not first:
                            pair = ptx.load_pair(ptx.address_in_global(attended, index))
                            one += low(pair) * before
                            two += high(pair) * before
                        if kept or not last:
                            ptx.store_pair(ptx.address_in_global(attended, index), pack(one, two))
                        if last:
                            if scaled:
                                one *= scale[0]
                                two *= scale[0]
                            if added:
                                pair = ptx.load_pair(ptx.address_in_global(residual, index))
                                one += low(pair)
                                two += high(pair)
                            ptx.store_pair(ptx.address_in_global(output, index), pack(one, two))

    return attend
