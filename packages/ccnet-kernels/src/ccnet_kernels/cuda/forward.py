"""Forward kernels: the joint log-sum-exp of every pixel, then the weighted sum.

Letters and the walk of a pixel are in `crisscross`. A block has LANES x GROUPS threads. Everything is float32.
"""

import math

from numba import cuda, float32, int64

from ccnet_kernels.cuda.crisscross import GROUPS, LANES, SHARE, STEPS, dots, neighbour, pixel_of, tiles_of

CHANNELS = 16  # value channels of one thread
CHUNK = GROUPS * CHANNELS  # value channels of one block


def log_sum_exp(query, key, result, height, width):
    """Write result (B, P) = log of the sum of exp(query . key) over the criss-cross; query and key are (B, D, P).

    Grid: B * tiles blocks. Each group walks an eighth of the steps with an online softmax; the first group merges.
    """
    maxima = cuda.shared.array((GROUPS, LANES), float32)
    sums = cuda.shared.array((GROUPS, LANES), float32)
    positions = cuda.local.array(SHARE, int64)
    energies = cuda.local.array(SHARE, float32)
    lane, group = cuda.threadIdx.x, cuda.threadIdx.y
    tiles = tiles_of(height, width)
    batch = cuda.blockIdx.x // tiles
    row, column = pixel_of(cuda.blockIdx.x % tiles, lane, width)
    inside = row < height and column < width
    row, column = min(row, height - 1), min(column, width - 1)
    pixel = row * width + column
    steps = height + width - 1

    highest, total = float32(-math.inf), float32(0.0)
    for first in range(group * SHARE, steps, STEPS):
        for n in range(SHARE):
            positions[n] = neighbour(min(first + n, steps - 1), row, column, width)
        dots(query, key, batch, pixel, positions, energies)
        for n in range(SHARE):
            if first + n < steps:
                higher = max(highest, energies[n])
                total = total * math.exp(highest - higher) + math.exp(energies[n] - higher)
                highest = higher
    maxima[group, lane] = highest
    sums[group, lane] = total
    cuda.syncthreads()

    # Group 0 has step 0, so its maximum is finite; a group without steps brings exp(-inf) = 0.
    if group == 0:
        for other in range(1, GROUPS):
            higher = max(highest, maxima[other, lane])
            total = total * math.exp(highest - higher) + sums[other, lane] * math.exp(maxima[other, lane] - higher)
            highest = higher
        if inside:
            result[batch, pixel] = highest + math.log(total)


def weighted_sum(here, there, values, log_sums, result, height, width, transposed):
    """Write result (B, C, P) = sum over the criss-cross of exp(here . there - log_sum) * values.

    Attending is here = query, there = key, values = value, with the log-sum-exp of the pixel itself. With `transposed`
    the log-sum-exp belongs to the position that is seen: here = key, there = query, values = the gradient of the
    attended map give the gradient of value, because "A sees B" is symmetric.
    here and there are (B, D, P), values (B, C, P), log_sums (B, P).

    Grid: B * chunks * tiles blocks, tile fastest. Per round the block computes the weights of STEPS steps together and
    keeps them in shared memory; then each group adds them up for its own CHANNELS channels.
    """
    weights = cuda.shared.array((STEPS, LANES), float32)
    positions = cuda.local.array(SHARE, int64)
    energies = cuda.local.array(SHARE, float32)
    totals = cuda.local.array(CHANNELS, float32)
    lane, group = cuda.threadIdx.x, cuda.threadIdx.y
    channels = values.shape[1]
    tiles = tiles_of(height, width)
    chunks = (channels + CHUNK - 1) // CHUNK
    batch = cuda.blockIdx.x // (tiles * chunks)
    first_channel = (cuda.blockIdx.x // tiles) % chunks * CHUNK + group * CHANNELS
    row, column = pixel_of(cuda.blockIdx.x % tiles, lane, width)
    inside = row < height and column < width
    row, column = min(row, height - 1), min(column, width - 1)
    pixel = row * width + column
    steps = height + width - 1

    for c in range(CHANNELS):
        totals[c] = float32(0.0)
    for first in range(0, steps, STEPS):
        for n in range(SHARE):
            positions[n] = neighbour(min(first + group * SHARE + n, steps - 1), row, column, width)
        dots(here, there, batch, pixel, positions, energies)
        for n in range(SHARE):
            owner = positions[n] if transposed else pixel
            weights[group * SHARE + n, lane] = math.exp(energies[n] - log_sums[batch, owner])
        cuda.syncthreads()
        for n in range(min(STEPS, steps - first)):
            weight = weights[n, lane]
            position = neighbour(first + n, row, column, width)
            for c in range(CHANNELS):
                channel = min(first_channel + c, channels - 1)
                totals[c] += weight * values[batch, channel, position]
        cuda.syncthreads()
    for c in range(CHANNELS):
        if inside and first_channel + c < channels:
            result[batch, first_channel + c, pixel] = totals[c]
