"""Backward kernels. Each pixel gathers what it receives from its criss-cross, so there are no atomics.

Letters and the walk of a pixel are in `crisscross`. Write p(i, j) for the weight with which pixel i sees position j,
g for the gradient of the attended map and o for the attended map itself. With delta(i) = g(i) . o(i):

    gradient of value(j) = sum over i of p(i, j) g(i), by forward.weighted_sum
    gradient of query(i) = sum over j of p(i, j) (g(i) . value(j) - delta(i)) key(j)
    gradient of key(j)   = sum over i of p(i, j) (g(i) . value(j) - delta(i)) query(i)
"""

import math

from numba import cuda, float32, int64

from ccnet_kernels.cuda.crisscross import GROUPS, LANES, SHARE, STEPS, dots, neighbour, pixel_of, tiles_of

CHANNELS = 8  # query or key channels of one thread
CHUNK = GROUPS * CHANNELS  # query or key channels of one block: all of them where D is 64


def channel_dot(left, right, result):
    """Write result (B, P) = sum over channels of left * right, both (B, C, P). One thread per pixel."""
    positions = left.shape[2]
    index = cuda.grid(1)
    if index < left.shape[0] * positions:
        batch, pixel = index // positions, index % positions
        total = float32(0.0)
        for channel in range(left.shape[1]):
            total += left[batch, channel, pixel] * right[batch, channel, pixel]
        result[batch, pixel] = total


def energy_gradient(here, there, here_values, there_values, log_sums, delta, result, height, width, transposed):
    """Write result (B, D, P) = sum over the criss-cross of p * (here_values . there_values - delta) * there.

    The gradient of query is here = query, there = key, here_values = g, there_values = value. With `transposed`, p and
    delta belong to the position that is seen: here = key, there = query, here_values = value, there_values = g give the
    gradient of key. here and there are (B, D, P), the values (B, C, P), log_sums and delta (B, P).

    Grid and rounds are those of `forward.weighted_sum`, with D channels to add up.
    """
    slopes = cuda.shared.array((STEPS, LANES), float32)
    positions = cuda.local.array(SHARE, int64)
    energies = cuda.local.array(SHARE, float32)
    products = cuda.local.array(SHARE, float32)
    totals = cuda.local.array(CHANNELS, float32)
    lane, group = cuda.threadIdx.x, cuda.threadIdx.y
    channels = there.shape[1]
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
        dots(here_values, there_values, batch, pixel, positions, products)
        for n in range(SHARE):
            owner = positions[n] if transposed else pixel
            weight = math.exp(energies[n] - log_sums[batch, owner])
            slopes[group * SHARE + n, lane] = weight * (products[n] - delta[batch, owner])
        cuda.syncthreads()
        for n in range(min(STEPS, steps - first)):
            slope = slopes[n, lane]
            position = neighbour(first + n, row, column, width)
            for c in range(CHANNELS):
                channel = min(first_channel + c, channels - 1)
                totals[c] += slope * there[batch, channel, position]
        cuda.syncthreads()
    for c in range(CHANNELS):
        if inside and first_channel + c < channels:
            result[batch, first_channel + c, pixel] = totals[c]
