"""Where a thread of the float32 kernels stands and where it looks: the geometry that all of them share.

Maps are read as (B, channels, P), P = frames * height * width positions; a picture has one frame. A *position* is
(frame * height + row) * width + column.

A pixel sees its criss-cross in frames + height + width - 2 *steps*: the positions of its row, itself among them, then
the others of its column, then those of its place in the other frames. So it counts once without a mask.

A block owns a tile of 4 x 8 pixels of one frame, one per *lane*: the four rows share what the row walk reads, the eight
columns what the column walk reads, and eight neighbours along a row fill one 32-byte sector. Its eight *groups* (warps)
share the steps, then the channels, of those pixels.
"""

from numba import cuda, float32, int32, int64, uint32

TILE_HEIGHT = 4
TILE_WIDTH = 8
LANES = TILE_HEIGHT * TILE_WIDTH
GROUPS = 8
THREADS = LANES * GROUPS
SHARE = 4  # steps that one thread takes per round, so that its own pixel is loaded once for four of them
STEPS = GROUPS * SHARE  # steps of a block per round


# Inlined in Numba's own form: a called device function would ask the driver which device it is compiled for.
@cuda.jit(device=True, inline="always")
def place_of_block(block, frames, height, width, channels, chunk_width):
    """Return image, first channel, frame, first row and first column of a block; its number counts tiles fastest."""
    # Unsigned, as a signed division rounds down by way of many instructions.
    across = uint32(uint32(width + TILE_WIDTH - 1) // uint32(TILE_WIDTH))
    down = uint32(uint32(height + TILE_HEIGHT - 1) // uint32(TILE_HEIGHT))
    chunks = uint32(uint32(channels + chunk_width - 1) // uint32(chunk_width))
    line, column = uint32(uint32(block) // across), uint32(uint32(block) % across)
    plane, row = uint32(line // down), uint32(line % down)
    stack, frame = uint32(plane // uint32(frames)), uint32(plane % uint32(frames))
    image, chunk = uint32(stack // chunks), uint32(stack % chunks)
    return (
        int32(image),
        int32(chunk * uint32(chunk_width)),
        int32(frame),
        int32(row * uint32(TILE_HEIGHT)),
        int32(column * uint32(TILE_WIDTH)),
    )


@cuda.jit(device=True, inline="always")
def neighbour(step, frame, row, column, height, width):
    """Return the position that a pixel sees at `step`: its row first, then its column, then its place in each frame."""
    seen_frame, seen_row, seen_column = int32(frame), int32(row), int32(step)
    if step >= width:
        seen_column = int32(column)
        other = int32(step - width)
        if other < height - 1:
            seen_row = int32(other + (1 if other >= row else 0))
        else:
            other = int32(other - (height - 1))
            seen_frame = int32(other + (1 if other >= frame else 0))
    return int32((seen_frame * height + seen_row) * width + seen_column)


@cuda.jit(device=True, inline="always")
def dots(here, there, start, channels, size, pixel, positions, result):
    """Put the scalar products of `here` at `pixel` with `there` at each of the SHARE positions into `result`.

    `start` is where the image's maps begin, `size` the positions of one map.
    """
    for n in range(SHARE):
        result[n] = float32(0.0)
    for channel in range(channels):
        first = start + int64(channel) * size
        own = here[first + pixel]
        for n in range(SHARE):
            result[n] += own * there[first + positions[n]]
