"""Backward in float32 without tensor cores. Each pixel gathers what it receives, so there are no atomics.

The terms, and the walk of a pixel, are in `pixel_walk`; the gradients are written out in `line_gradients`. That of
value is `pixel_attention.weighted_sum`.
"""

import math

from numba import cuda, float32, int32, int64

from ccnet_kernels.cuda.pixel_walk import (
    GROUPS,
    LANES,
    SHARE,
    STEPS,
    THREADS,
    TILE_WIDTH,
    dots,
    neighbour,
    place_of_block,
)

CHANNELS = 8  # query or key channels of one thread
CHUNK = GROUPS * CHANNELS  # query or key channels of one block: all of them where there are 64


def channel_dot(left, right, result, batch, channels, size):
    """Write result (B, P) = sum over channels of left * right, both (B, channels, P), P = size. One thread each."""
    index = int64(cuda.blockIdx.x) * THREADS + cuda.threadIdx.x
    if index < int64(batch) * size:
        image, pixel = index // size, index % size
        total = float32(0.0)
        for channel in range(channels):
            place = (image * channels + channel) * size + pixel
            total += left[place] * right[place]
        result[index] = total


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
    frames,
    height,
    width,
    scaled,
    transposed,
):
    """Write result (B, D, P) = scale * sum over the criss-cross of p * (here_values . there_values - delta) * there.

    The gradient of query is here = query, there = key, here_values = g, there_values = value. With `transposed`, p and
    delta belong to the position that is seen: here = key, there = query, here_values = value, there_values = g give the
    gradient of key. here and there are (B, channels, P), the values (B, value_channels, P), log_sums and delta (B, P),
    scale (1), left out where not `scaled`.

    Grid and rounds are those of `pixel_attention.weighted_sum`, with the channels of here to add up.
    """
    slopes = cuda.shared.array((STEPS, LANES), float32)
    positions = cuda.local.array(SHARE, int32)
    energies = cuda.local.array(SHARE, float32)
    products = cuda.local.array(SHARE, float32)
    totals = cuda.local.array(CHANNELS, float32)
    lane, group = int32(cuda.threadIdx.x % LANES), int32(cuda.threadIdx.x // LANES)
    image, first_channel, frame, row, column = place_of_block(cuda.blockIdx.x, frames, height, width, channels, CHUNK)
    first_channel = int32(first_channel + group * CHANNELS)
    row, column = int32(row + lane // TILE_WIDTH), int32(column + lane % TILE_WIDTH)
    inside = row < height and column < width
    row, column = int32(min(row, height - 1)), int32(min(column, width - 1))
    size = int32(frames * height * width)
    pixel = int32((frame * height + row) * width + column)
    start = int64(image) * channels * size
    value_start = int64(image) * value_channels * size
    steps = int32(frames + height + width - 2)

    for c in range(CHANNELS):
        totals[c] = float32(0.0)
    for first in range(0, steps, STEPS):
        for n in range(SHARE):
            step = int32(min(first + group * SHARE + n, steps - 1))
            positions[n] = neighbour(step, frame, row, column, height, width)
        dots(here, there, start, channels, size, pixel, positions, energies)
        dots(here_values, there_values, value_start, value_channels, size, pixel, positions, products)
        for n in range(SHARE):
            owner = int64(image) * size + (positions[n] if transposed else pixel)
            weight = math.exp(energies[n] - log_sums[owner])
            slopes[group * SHARE + n, lane] = weight * (products[n] - delta[owner])
        cuda.syncthreads()
        for n in range(min(STEPS, steps - first)):
            slope = slopes[n, lane]
            position = neighbour(int32(first + n), frame, row, column, height, width)
            for c in range(CHANNELS):
                channel = int32(min(first_channel + c, channels - 1))
                totals[c] += slope * there[start + int64(channel) * size + position]
        cuda.syncthreads()
    factor = scale[0] if scaled else float32(1.0)
    for c in range(CHANNELS):
        if inside and first_channel + c < channels:
            result[start + int64(first_channel + c) * size + pixel] = factor * totals[c]
