"""Where a thread stands and where it looks: the geometry that all kernels share.

Letters: B batch, D query and key channels, C value channels, H height, W width, P = H * W.
Maps are read as (B, channels, P); a *position* is row * W + column.

The criss-cross of a pixel is walked in H + W - 1 *steps*: the W positions of its row, itself among them, then the H - 1
others of its column. So the pixel counts once by construction and no mask is needed.

A block owns a tile of 4 x 8 pixels, one per *lane*: the four rows share what the row walk reads, the eight columns what
the column walk reads, and eight neighbours along W fill one 32-byte sector. Its eight *groups* (warps) share the steps,
then the channels, of those pixels.
"""

from numba import cuda, float32

TILE_HEIGHT = 4
TILE_WIDTH = 8
LANES = TILE_HEIGHT * TILE_WIDTH
GROUPS = 8
SHARE = 4  # steps that one thread takes per round, so that its own pixel is loaded once for four of them
STEPS = GROUPS * SHARE  # steps of a block per round


# Inlined in Numba's own form: a called device function would ask the driver which device it is compiled for.
@cuda.jit(device=True, inline="always")
def tiles_of(height, width):
    """Return the number of tiles that cover a map."""
    return ((height + TILE_HEIGHT - 1) // TILE_HEIGHT) * ((width + TILE_WIDTH - 1) // TILE_WIDTH)


@cuda.jit(device=True, inline="always")
def pixel_of(tile, lane, width):
    """Return row and column of a lane, which may lie outside the map at its lower and right edge."""
    across = (width + TILE_WIDTH - 1) // TILE_WIDTH
    return (tile // across) * TILE_HEIGHT + lane // TILE_WIDTH, (tile % across) * TILE_WIDTH + lane % TILE_WIDTH


@cuda.jit(device=True, inline="always")
def neighbour(step, row, column, width):
    """Return the position that a pixel sees at `step`: its row first, then its column without the pixel itself."""
    if step < width:
        return row * width + step
    other = step - width
    if other >= row:
        other += 1
    return other * width + column


@cuda.jit(device=True, inline="always")
def dots(here, there, batch, pixel, positions, result):
    """Put the scalar products of `here` at `pixel` with `there` at each of the SHARE positions into `result`."""
    for n in range(SHARE):
        result[n] = float32(0.0)
    for channel in range(here.shape[1]):
        own = here[batch, channel, pixel]
        for n in range(SHARE):
            result[n] += own * there[batch, channel, positions[n]]
