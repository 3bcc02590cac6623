"""What the kernels for short lines share: a block holds all positions of a line, so each map is read once.

The terms are in `lines`. A short line has at most MOST positions. Each warp owns 16 of them; a launch gives a block as
many warps as its lines need, and `rows` is 16 times their number. A tile holds `rows` positions by some channels.

ldmatrix takes its rows in two orders: `across` gives 16 rows by two halves of 8 columns, `down` two halves of 8 rows
by 16 columns. Either serves for the left or the right side of a product, one of them transposed.
"""

from numba import cuda, int32, uint32

from ccnet_kernels.cuda import ptx
from ccnet_kernels.cuda.lines import BYTES, PAD, PIECE, WHOLE_WARP

MOST = 128  # positions of a short line
THREADS = 256  # of the largest block: two for each position


@cuda.jit(device=True, inline="always")
def copy_rows(shared, offset, width, source, start, length, step, channel, channels, pitch):
    """Begin to copy a tile: all rows, `width` channels from `channel` on; 0 where there is none.

    The tile begins at `offset` of `shared`. The line begins at `start` in `source` (positions, channels), whose
    positions lie `pitch` numbers apart.
    """
    pieces = width // PIECE
    for turn in range(pieces // 2):  # a row has two threads
        number = int32(cuda.threadIdx.x + turn * cuda.blockDim.x)
        row, across = int32(number // pieces), int32(number % pieces * PIECE)
        inside = row < length and channel + across < channels
        index = int32((start + min(row, length - 1) * step) * pitch + min(channel + across, channels - PIECE))
        ptx.copy_async(
            ptx.address_in_shared(shared, int32(offset + row * (width + PAD) + across)),
            ptx.address_in_global(source, index),
            uint32(16) if inside else uint32(0),
        )


@cuda.jit(device=True, inline="always")
def across(lane, pitch):
    """Return what a lane's row of ldmatrix lies behind the first: rows 0 to 15, columns 0 and 8."""
    return (lane & 15) * pitch + (lane >> 4) * 8


@cuda.jit(device=True, inline="always")
def down(lane, pitch):
    """Return what a lane's row of ldmatrix lies behind the first: columns 0 and 8 of rows 0 to 7, then of 8 to 15."""
    return ((lane & 7) + (lane >> 4) * 8) * pitch + (lane >> 3 & 1) * 8


@cuda.jit(device=True, inline="always")
def multiply_two(multiply, a0, a1, a2, a3, b, accumulator, i):
    """Add A (16, 16) times two B (16, 8), side by side in `b`, to eight numbers of the accumulator."""
    for side in range(2):
        n = i + side * 4
        c0, c1, c2, c3 = accumulator[n], accumulator[n + 1], accumulator[n + 2], accumulator[n + 3]
        d = multiply(a0, a1, a2, a3, b[2 * side], b[2 * side + 1], c0, c1, c2, c3)
        accumulator[n], accumulator[n + 1], accumulator[n + 2], accumulator[n + 3] = d


@cuda.jit(device=True, inline="always")
def add_rows_by_rows(multiply, left, right, width, rows, accumulator):
    """Add to the accumulator (16, rows) the scalar products over `width` channels: left rows by right rows.

    `left` and `right` are addresses in tiles that wide: the first by `across` the warp's rows, the other by `down`.
    """
    pitch = width + PAD
    for k in range(width // 16):
        a = ptx.load_matrices(uint32(left + k * 16 * BYTES))
        for j in range(MOST // 16):
            if j * 16 < rows:
                b = ptx.load_matrices(uint32(right + (j * 16 * pitch + k * 16) * BYTES))
                multiply_two(multiply, a[0], a[1], a[2], a[3], b, accumulator, j * 8)


@cuda.jit(device=True, inline="always")
def four_in_a_row(one, two, three, four, odd):
    """Return four numbers that lie side by side, for a lane's two of one B (16, 8) and its two of the next.

    An even lane gets four columns of the first B, the odd one beside it four of the second: `first_of_four`.
    """
    got_one = cuda.shfl_xor_sync(WHOLE_WARP, one if odd else three, 1)
    got_two = cuda.shfl_xor_sync(WHOLE_WARP, two if odd else four, 1)
    return got_one if odd else one, got_two if odd else two, three if odd else got_one, four if odd else got_two


@cuda.jit(device=True, inline="always")
def first_of_four(lane):
    """Return the column, of 16, of the first number that `four_in_a_row` gives a lane."""
    return (lane & 1) * 8 + (lane >> 1 & 1) * 4
