"""Forward in float32 without tensor cores: the joint log-sum-exp of every pixel, then the weighted sum.

The terms, and the walk of a pixel, are in `pixel_walk`. A block has LANES x GROUPS threads, numbered lane fastest.
"""

import math

from numba import cuda, float32, int32, int64

from ccnet_kernels.cuda.constants import LOWEST
from ccnet_kernels.cuda.pixel_walk import (
    GROUPS,
    LANES,
    SHARE,
    STEPS,
    TILE_WIDTH,
    dots,
    neighbour,
    place_of_block,
)

CHANNELS = 16  # value channels of one thread
CHUNK = GROUPS * CHANNELS  # value channels of one block


def log_sum_exp(query, key, log_sums, channels, frames, height, width):
    """Write log_sums (B, P) = log of the sum of exp(query . key) over the criss-cross; query, key (B, channels, P).

    Grid: B * tiles blocks. Each group walks an eighth of the steps with an online softmax; the first group merges.
    """
    maxima = cuda.shared.array((GROUPS, LANES), float32)
    sums = cuda.shared.array((GROUPS, LANES), float32)
    positions = cuda.local.array(SHARE, int32)
    energies = cuda.local.array(SHARE, float32)
    lane, group = int32(cuda.threadIdx.x % LANES), int32(cuda.threadIdx.x // LANES)
    image, _, frame, row, column = place_of_block(cuda.blockIdx.x, frames, height, width, 1, 1)
    row, column = int32(row + lane // TILE_WIDTH), int32(column + lane % TILE_WIDTH)
    inside = row < height and column < width
    row, column = int32(min(row, height - 1)), int32(min(column, width - 1))
    size = int32(frames * height * width)
    pixel = int32((frame * height + row) * width + column)
    start = int64(image) * channels * size
    steps = int32(frames + height + width - 2)

    highest, total = float32(LOWEST), float32(0.0)
    for first in range(group * SHARE, steps, STEPS):
        for n in range(SHARE):
            positions[n] = neighbour(int32(min(first + n, steps - 1)), frame, row, column, height, width)
        dots(query, key, start, channels, size, pixel, positions, energies)
        for n in range(SHARE):
            if first + n < steps:
                higher = max(highest, energies[n])
                total = total * math.exp(highest - higher) + math.exp(energies[n] - higher)
                highest = higher
    maxima[group, lane] = highest
    sums[group, lane] = total
    cuda.syncthreads()

    # A group without steps brings a sum of 0.
    if group == 0:
        for other in range(1, GROUPS):
            higher = max(highest, maxima[other, lane])
            total = total * math.exp(highest - higher) + sums[other, lane] * math.exp(maxima[other, lane] - higher)
            highest = higher
        if inside:
            log_sums[int64(image) * size + pixel] = highest + math.log(total)


def weighted_sum(
    here,
    there,
    values,
    log_sums,
    scale,
    residual,
    attended,
    output,
    narrow_channels,
    channels,
    frames,
    height,
    width,
    scaled,
    added,
    kept,
    transposed,
):
    """Write output (B, C, P) = scale * sum over the criss-cross of exp(here . there - log_sum) * values + residual.

    The parts that are not `scaled` or `added` are left out; the sum itself goes to `attended` where `kept`. here and
    there are (B, narrow_channels, P), values, residual, attended and output (B, channels, P), log_sums (B, P),
    scale (1).

    Attending is here = query, there = key, values = value, with the log-sum-exp of the pixel itself. With `transposed`
    the log-sum-exp belongs to the position that is seen: here = key, there = query, values = the gradient of the
    attended map give the gradient of value, because "A sees B" is symmetric.

    Grid: B * chunks * tiles blocks, tile fastest. Per round the block computes the weights of STEPS steps together and
    keeps them in shared memory; then each group adds them up for its own CHANNELS channels.
    """
    weights = cuda.shared.array((STEPS, LANES), float32)
    positions = cuda.local.array(SHARE, int32)
    energies = cuda.local.array(SHARE, float32)
    totals = cuda.local.array(CHANNELS, float32)
    lane, group = int32(cuda.threadIdx.x % LANES), int32(cuda.threadIdx.x // LANES)
    image, first_channel, frame, row, column = place_of_block(cuda.blockIdx.x, frames, height, width, channels, CHUNK)
    first_channel = int32(first_channel + group * CHANNELS)
    row, column = int32(row + lane // TILE_WIDTH), int32(column + lane % TILE_WIDTH)
    inside = row < height and column < width
    row, column = int32(min(row, height - 1)), int32(min(column, width - 1))
    size = int32(frames * height * width)
    pixel = int32((frame * height + row) * width + column)
    narrow_start = int64(image) * narrow_channels * size
    start = int64(image) * channels * size
    steps = int32(frames + height + width - 2)

    for c in range(CHANNELS):
        totals[c] = float32(0.0)
    for first in range(0, steps, STEPS):
        for n in range(SHARE):
            step = int32(min(first + group * SHARE + n, steps - 1))
            positions[n] = neighbour(step, frame, row, column, height, width)
        dots(here, there, narrow_start, narrow_channels, size, pixel, positions, energies)
        for n in range(SHARE):
            owner = positions[n] if transposed else pixel
            weights[group * SHARE + n, lane] = math.exp(energies[n] - log_sums[int64(image) * size + owner])
        cuda.syncthreads()
        for n in range(min(STEPS, steps - first)):
            weight = weights[n, lane]
            position = neighbour(int32(first + n), frame, row, column, height, width)
            for c in range(CHANNELS):
                channel = int32(min(first_channel + c, channels - 1))
                totals[c] += weight * values[start + int64(channel) * size + position]
        cuda.syncthreads()
    factor = scale[0] if scaled else float32(1.0)
    for c in range(CHANNELS):
        if inside and first_channel + c < channels:
            index = start + int64(first_channel + c) * size + pixel
            if kept:
                attended[index] = totals[c]
            output[index] = factor * totals[c] + (residual[index] if added else float32(0.0))
