"""What the tensor-core kernels share: the positions of a line, tiles of them in shared memory, products of tiles.

A *line* is a row, a column or a run of frames: `length` positions that lie `step` apart. Maps are read as
(positions, channels), channels innermost, in bfloat16 or float16 as uint16. Line n of all images starts at
n // step * length * step + n % step, so one kernel serves every axis of a picture or a clip.

Four warps share a block; each owns 16 positions of the line. Shared memory holds *tiles*: rows of one position each,
PAD numbers longer than what is kept, so that the eight rows an ldmatrix reads lie in different banks.

An *accumulator* is a thread's share of a matrix of 16 rows: four numbers for every 8 columns, of which two lie in the
thread's upper row, lane / 4, and two in its lower row, 8 further down; their columns are 2 (lane % 4) and the next.
"""

from numba import cuda, float32, int32, int64, uint32

from ccnet_kernels.cuda import ptx

THREADS = 128
ROWS = 64  # positions that a block owns, 16 for each warp
ROUND = 32  # positions that a block looks at together
SLICE = 64  # query or key channels in shared memory at a time
CHANNELS = 128  # value channels of one block
PAD = 8
BYTES = 2  # of a number
PIECE = 8  # numbers that one asynchronous copy brings: 16 bytes
HERE_TILE, THERE_TILE, VALUE_TILE = ROWS * (SLICE + PAD), ROUND * (SLICE + PAD), ROUND * (CHANNELS + PAD)
TWO_HERE_TILES, TWO_THERE_TILES, TWO_VALUE_TILES = 2 * HERE_TILE, 2 * THERE_TILE, 2 * VALUE_TILE
ALIGNMENT = 16  # of shared memory, in bytes: asynchronous copies and ldmatrix need it, Numba gives uint16 only 2
WHOLE_WARP = 0xFFFFFFFF


# Inlined in Numba's own form: a called device function would ask the driver which device it is compiled for.
@cuda.jit(device=True, inline="always")
def place_of_block(block, length, channels, width):
    """Return line, first row and first channel of a block: lines x tiles of ROWS x chunks of `width`, chunk fastest."""
    # Unsigned, as a signed division rounds down by way of many instructions.
    chunks = uint32(channels + width - 1) // uint32(width)
    tiles = uint32(length + ROWS - 1) // uint32(ROWS)
    piece = uint32(uint32(block) // uint32(chunks))
    chunk = uint32(uint32(block) % uint32(chunks))
    line, tile = uint32(piece // uint32(tiles)), uint32(piece % uint32(tiles))
    return line, int32(tile * ROWS), int32(chunk * width)


@cuda.jit(device=True, inline="always")
def start_of_line(line, length, step):
    """Return the position at which a line starts."""
    outer, inner = uint32(line // uint32(step)), uint32(line % uint32(step))
    return int64(outer) * int64(length * step) + int64(inner)


@cuda.jit(device=True, inline="always")
def copy_tile(shared, offset, rows, width, source, start, row, length, step, channel, channels):
    """Begin to copy a tile: `rows` positions from `row` on, `width` channels from `channel` on; 0 where there is none.

    The tile begins at `offset` of `shared`. The line begins at `start` in `source` (positions, channels).
    """
    pieces = width // PIECE
    for turn in range(rows * pieces // THREADS):
        number = int32(cuda.threadIdx.x + turn * THREADS)
        there, across = int32(number // pieces), int32(number % pieces * PIECE)
        inside = row + there < length and channel + across < channels
        position = int32(min(row + there, length - 1))
        index = (start + int32(position * step)) * channels + int32(min(channel + across, channels - PIECE))
        ptx.copy_async(
            ptx.address_in_shared(shared, int32(offset + there * (width + PAD) + across)),
            ptx.address_in_global(source, index),
            uint32(16) if inside else uint32(0),
        )


@cuda.jit(device=True, inline="always")
def copy_stage(shared, maps, line, channels, part, seen, turn, value_turn):
    """Begin to copy what one stage of a round needs, as one group.

    A round looks at ROUND positions, from `seen` on; its stages are the slices of the narrow channels, by `part`. The
    block's own rows of `here` come with each stage, or once where one slice holds all their channels. The rows of
    `there` come with each stage, those of `values` (CHANNELS of the wide channels, from the block's first on) with the
    first stage of a round. `turn` and `value_turn` are the halves of shared memory to fill.
    """
    heres, theres, tiles = shared
    here, there, values = maps
    start, row, length, step = line
    channel, narrow, wide = channels
    at = int32(part * SLICE)
    if narrow > SLICE or seen == 0:
        copy_tile(heres, int32(turn * HERE_TILE), ROWS, SLICE, here, start, row, length, step, at, narrow)
    copy_tile(theres, int32(turn * THERE_TILE), ROUND, SLICE, there, start, seen, length, step, at, narrow)
    if part == 0:
        place = int32(value_turn * VALUE_TILE)
        copy_tile(tiles, place, ROUND, CHANNELS, values, start, seen, length, step, channel, wide)
    ptx.close_group()


@cuda.jit(device=True, inline="always")
def clear(accumulator, count):
    """Set the first `count` numbers to 0."""
    for i in range(count):
        accumulator[i] = float32(0.0)


@cuda.jit(device=True, inline="always")
def add_rows_by_rows(multiply, left, left_offset, right, right_offset, columns, accumulator):
    """Add to the accumulator (16, columns) the scalar products over SLICE channels: left rows by right rows.

    Each warp takes its own 16 rows of the left tile and the first `columns` rows of the right one.
    """
    lane = int32(cuda.threadIdx.x & 31)
    pitch = SLICE + PAD
    own = int32(left_offset + ((cuda.threadIdx.x >> 5) * 16 + (lane & 15)) * pitch + (lane >> 4) * 8)
    left_address = ptx.address_in_shared(left, own)
    # Two B (16, 8) side by side: rows 0 to 7 and 8 to 15 of the right tile, each in two halves of 8 channels.
    other = int32(right_offset + ((lane & 7) + (lane >> 4) * 8) * pitch + (lane >> 3 & 1) * 8)
    right_address = ptx.address_in_shared(right, other)
    for k in range(SLICE // 16):
        a = ptx.load_matrices(uint32(left_address + k * 16 * BYTES))
        for j in range(columns // 16):
            b = ptx.load_matrices(uint32(right_address + (j * 16 * pitch + k * 16) * BYTES))
            for side in range(2):
                i = j * 8 + side * 4
                c0, c1, c2, c3 = accumulator[i], accumulator[i + 1], accumulator[i + 2], accumulator[i + 3]
                d = multiply(a[0], a[1], a[2], a[3], b[2 * side], b[2 * side + 1], c0, c1, c2, c3)
                accumulator[i], accumulator[i + 1], accumulator[i + 2], accumulator[i + 3] = d


@cuda.jit(device=True, inline="always")
def add_weighted_rows(multiply, pack, weights, rows, tile, offset, columns, accumulator):
    """Add to the accumulator (16, columns) the weights (16, rows), an accumulator too, times a tile (rows, columns)."""
    lane = int32(cuda.threadIdx.x & 31)
    pitch = columns + PAD
    address = ptx.address_in_shared(tile, int32(offset + (lane & 15) * pitch + (lane >> 4) * 8))
    for k in range(rows // 16):
        w = k * 8
        a0, a1 = pack(weights[w], weights[w + 1]), pack(weights[w + 2], weights[w + 3])
        a2, a3 = pack(weights[w + 4], weights[w + 5]), pack(weights[w + 6], weights[w + 7])
        for j in range(columns // 16):
            b = ptx.load_matrices_transposed(uint32(address + (k * 16 * pitch + j * 16) * BYTES))
            for side in range(2):
                i = j * 8 + side * 4
                c0, c1, c2, c3 = accumulator[i], accumulator[i + 1], accumulator[i + 2], accumulator[i + 3]
                d = multiply(a0, a1, a2, a3, b[2 * side], b[2 * side + 1], c0, c1, c2, c3)
                accumulator[i], accumulator[i + 1], accumulator[i + 2], accumulator[i + 3] = d
