"""Backward on tensor cores, one axis at a time. Each position gathers what it receives, so there are no atomics.

The terms are in `lines`. Write p(i, j) for the weight with which position i sees j, g for the gradient of the attended
map, o for the attended map itself, s for scale and delta(i) = g(i) . o(i). With sums over all axes:

    gradient of value(j) = s * sum over i of p(i, j) g(i)
    gradient of query(i) = s * sum over j of p(i, j) (g(i) . value(j) - delta(i)) key(j)
    gradient of key(j)   = s * sum over i of p(i, j) (g(i) . value(j) - delta(i)) query(i)
    gradient of s        = sum over i of delta(i)

p(i, j) is computed anew from the log-sum-exp of i. `weighted_sum_kernel` and its like make kernels for a number format.
"""

from numba import cuda, float32, int32, int64, uint16, uint32

from ccnet_kernels.cuda import ptx
from ccnet_kernels.cuda.constants import LOG2_E
from ccnet_kernels.cuda.lines import (
    ALIGNMENT,
    CHANNELS,
    HERE_TILE,
    ROUND,
    ROWS,
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
    copy_tile,
    place_of_block,
    start_of_line,
)

WEIGHTS = ROUND // 2  # numbers of a thread's accumulator
TOTALS = CHANNELS // 2
SLOPES = ROWS // 2  # in energy_gradient, whose tiles are all ROWS positions by SLICE channels
SLOPE_TOTALS = SLICE // 2
POSITIONS_OF_BLOCK = 4  # of channel_dot: one for each warp


def channel_dot_kernel(number):
    """Return the kernel for maps of this number format."""
    low, high = number.low, number.high

    def channel_dot(left, right, result, channels, positions):
        """Write result (positions) = sum over channels of left * right, both (positions, channels). One warp each."""
        position = int32(cuda.blockIdx.x * POSITIONS_OF_BLOCK + (cuda.threadIdx.x >> 5))
        lane = int32(cuda.threadIdx.x & 31)
        if position < positions:
            total = float32(0.0)
            for channel in range(lane * 2, channels, 64):
                index = int64(position) * channels + channel
                one = ptx.load_pair(ptx.address_in_global(left, index))
                two = ptx.load_pair(ptx.address_in_global(right, index))
                total += low(one) * low(two) + high(one) * high(two)
            for lanes in (1, 2, 4, 8, 16):
                total += cuda.shfl_xor_sync(WHOLE_WARP, total, lanes)
            if lane == 0:
                result[position] = total

    return channel_dot


def weighted_sum_kernel(number):
    """Return the kernel for maps of this number format."""
    multiply, pack, low, high = number.multiply, number.pack, number.low, number.high

    def weighted_sum(
        here,
        there,
        values,
        log_sums,
        scale,
        result,
        narrow_channels,
        channels,
        length,
        step,
        first,
        scaled,
    ):
        """Add to result (positions, channels) what each position receives along one axis.

        result(j) = scale * sum over i of exp(here(j) . there(i) - log_sums(i)) values(i), added to what the axes before
        left there. With here = key, there = query, values = g it is the gradient of value. here and there are
        (positions, narrow_channels), values (positions, channels), half precision; log_sums (positions) and scale (1)
        float32.

        Grid, rounds and `first` are those of `line_attention.attend`.
        """
        heres = cuda.shared.array(TWO_HERE_TILES, uint16, alignment=ALIGNMENT)
        theres = cuda.shared.array(TWO_THERE_TILES, uint16, alignment=ALIGNMENT)
        tiles = cuda.shared.array(TWO_VALUE_TILES, uint16, alignment=ALIGNMENT)
        weights = cuda.local.array(WEIGHTS, float32)
        totals = cuda.local.array(TOTALS, float32)
        lane = int32(cuda.threadIdx.x & 31)
        line, row, channel = place_of_block(cuda.blockIdx.x, length, channels, CHANNELS)
        start = start_of_line(line, length, step)
        upper = int32(row + (cuda.threadIdx.x >> 5) * 16 + (lane >> 2))
        column = int32((lane & 3) * 2)

        clear(totals, TOTALS)
        shared, maps = (heres, theres, tiles), (here, there, values)
        place_in_line, counts = (start, row, length, step), (channel, narrow_channels, channels)
        copy_stage(shared, maps, place_in_line, counts, 0, 0, 0, 0)
        part, seen, turn, value_turn = int32(0), int32(0), int32(0), int32(0)
        while seen < length:
            next_part, next_seen, next_value_turn = int32(part + 1), seen, value_turn
            if next_part * SLICE >= narrow_channels:
                next_part, next_seen, next_value_turn = int32(0), int32(seen + ROUND), int32(1 - value_turn)
            if next_seen < length:
                copy_stage(shared, maps, place_in_line, counts, next_part, next_seen, int32(1 - turn), next_value_turn)
                ptx.wait_for_all_groups_but_one()
            else:
                ptx.wait_for_all_groups()
            cuda.syncthreads()

            if part == 0:
                clear(weights, WEIGHTS)
            here_place = int32(turn * HERE_TILE) if narrow_channels > SLICE else int32(0)
            add_rows_by_rows(multiply, heres, here_place, theres, int32(turn * THERE_TILE), ROUND, weights)
            if next_part == 0:
                for i in range(0, WEIGHTS, 4):
                    for n in range(2):
                        position = int32(seen + i * 2 + column + n)
                        if position < length:
                            log_sum = log_sums[start + int32(position * step)] * float32(LOG2_E)
                            for side in range(2):
                                weight = ptx.exp2(weights[i + 2 * side + n] * float32(LOG2_E) - log_sum)
                                if not first and position == upper + 8 * side:
                                    weight = float32(0.0)
                                weights[i + 2 * side + n] = weight
                        else:
                            weights[i + n], weights[i + 2 + n] = float32(0.0), float32(0.0)
                place = int32(value_turn * VALUE_TILE)
                add_weighted_rows(multiply, pack, weights, ROUND, tiles, place, CHANNELS, totals)
            part, seen, turn, value_turn = next_part, next_seen, int32(1 - turn), next_value_turn
            cuda.syncthreads()

        factor = scale[0] if scaled else float32(1.0)
        for side in range(2):
            position = int32(upper + side * 8)
            if position < length:
                for i in range(0, TOTALS, 4):
                    at = int32(channel + i * 2 + column)
                    if at < channels:
                        address = ptx.address_in_global(result, (start + int32(position * step)) * channels + at)
                        one, two = totals[i + 2 * side] * factor, totals[i + 2 * side + 1] * factor
                        if not first:
                            pair = ptx.load_pair(address)
                            one += low(pair)
                            two += high(pair)
                        ptx.store_pair(address, pack(one, two))

    return weighted_sum


def energy_gradient_kernel(number, transposed):
    """Return the kernel for maps of this number format: the gradient of query, or with `transposed` that of key."""
    multiply, pack, low, high = number.multiply, number.pack, number.low, number.high

    def energy_gradient(
        here,
        there,
        here_values,
        there_values,
        log_sums,
        delta,
        scale,
        result,
        channels,
        value_channels,
        length,
        step,
        first,
        scaled,
    ):
        """Add to result (positions, channels) the gradient of query or key along one axis.

        result(i) = scale * sum over j of p (here_values(i) . there_values(j) - delta) there(j), added to what the axes
        before left there. The gradient of query is here = query, there = key, here_values = g, there_values = value,
        with log-sum-exp and delta of i. That of key is here = key, there = query, here_values = value, there_values =
        g, with log-sum-exp and delta of j. The maps are half precision, log_sums, delta (positions) and scale (1)
        float32.

        Grid: lines x tiles of ROWS positions x chunks of SLICE channels, chunk fastest. A round looks at ROWS positions
        and has three kinds of stages: slices of the energies, slices of the products of values, the sum.
        """
        lefts = cuda.shared.array(TWO_HERE_TILES, uint16, alignment=ALIGNMENT)
        rights = cuda.shared.array(TWO_HERE_TILES, uint16, alignment=ALIGNMENT)
        energies = cuda.local.array(SLOPES, float32)
        products = cuda.local.array(SLOPES, float32)
        totals = cuda.local.array(SLOPE_TOTALS, float32)
        lane = int32(cuda.threadIdx.x & 31)
        line, row, channel = place_of_block(cuda.blockIdx.x, length, channels, SLICE)
        start = start_of_line(line, length, step)
        upper = int32(row + (cuda.threadIdx.x >> 5) * 16 + (lane >> 2))
        column = int32((lane & 3) * 2)
        slices = int32(uint32(channels + SLICE - 1) // uint32(SLICE))
        stages = int32(slices + uint32(value_channels + SLICE - 1) // uint32(SLICE) + 1)

        clear(totals, SLOPE_TOTALS)
        copy_tile(lefts, 0, ROWS, SLICE, here, start, row, length, step, 0, channels)
        copy_tile(rights, 0, ROWS, SLICE, there, start, 0, length, step, 0, channels)
        ptx.close_group()
        stage, seen, turn = int32(0), int32(0), int32(0)
        while seen < length:
            next_stage, next_seen = int32(stage + 1), seen
            if next_stage == stages:
                next_stage, next_seen = int32(0), int32(seen + ROWS)
            if next_seen < length:
                place = int32((1 - turn) * HERE_TILE)
                if next_stage < slices:
                    at = int32(next_stage * SLICE)
                    copy_tile(lefts, place, ROWS, SLICE, here, start, row, length, step, at, channels)
                    copy_tile(rights, place, ROWS, SLICE, there, start, next_seen, length, step, at, channels)
                elif next_stage < stages - 1:
                    at = int32((next_stage - slices) * SLICE)
                    copy_tile(lefts, place, ROWS, SLICE, here_values, start, row, length, step, at, value_channels)
                    copy_tile(rights, place, ROWS, SLICE, there_values, start, seen, length, step, at, value_channels)
                else:
                    copy_tile(rights, place, ROWS, SLICE, there, start, seen, length, step, channel, channels)
                ptx.close_group()
                ptx.wait_for_all_groups_but_one()
            else:
                ptx.wait_for_all_groups()
            cuda.syncthreads()

            place = int32(turn * HERE_TILE)
            if stage == 0:
                clear(energies, SLOPES)
                clear(products, SLOPES)
            if stage < slices:
                add_rows_by_rows(multiply, lefts, place, rights, place, ROWS, energies)
            elif stage < stages - 1:
                add_rows_by_rows(multiply, lefts, place, rights, place, ROWS, products)
            else:
                for i in range(0, SLOPES, 4):
                    for n in range(2):
                        position = int32(seen + i * 2 + column + n)
                        for side in range(2):
                            own = int32(upper + 8 * side)
                            owner = start + int32(min(position if transposed else own, length - 1) * step)
                            log_sum = log_sums[owner] * float32(LOG2_E)
                            weight = ptx.exp2(energies[i + 2 * side + n] * float32(LOG2_E) - log_sum)
                            slope = weight * (products[i + 2 * side + n] - delta[owner])
                            counts = (position < length) & (own < length) & ((first != 0) | (position != own))
                            energies[i + 2 * side + n] = slope if counts else float32(0.0)
                add_weighted_rows(multiply, pack, energies, ROWS, rights, place, SLICE, totals)
            stage, seen, turn = next_stage, next_seen, int32(1 - turn)
            cuda.syncthreads()

        factor = scale[0] if scaled else float32(1.0)
        for side in range(2):
            position = int32(upper + side * 8)
            if position < length:
                for i in range(0, SLOPE_TOTALS, 4):
                    at = int32(channel + i * 2 + column)
                    if at < channels:
                        address = ptx.address_in_global(result, (start + int32(position * step)) * channels + at)
                        one, two = totals[i + 2 * side] * factor, totals[i + 2 * side + 1] * factor
                        if not first:
                            pair = ptx.load_pair(address)
                            one += low(pair)
                            two += high(pair)
                        ptx.store_pair(address, pack(one, two))

    return energy_gradient
