"""How maps are cut into blocks. No Numba here, so that a process that finds its kernels compiled need not import it."""

ROWS = 64  # positions of a line that a block of the line kernels owns
LINE_CHANNELS = 128  # value channels of such a block
LINE_SLICE = 64  # query or key channels of such a block
LINE_DOTS = 4  # scalar products of a block
SHORT = 128  # positions of the longest line that a block of the kernels for short lines holds
SHORT_SLICE = 64  # value channels that such a block sees at a time
ENOUGH_BLOCKS = 264  # two for each multiprocessor of an H200
TILE_HEIGHT = 4  # rows and columns of the pixels that a block of the pixel kernels owns
TILE_WIDTH = 8
PIXEL_CHANNELS = 128  # value channels of such a block
PIXEL_SLICE = 64  # query or key channels of such a block
PIXEL_DOTS = 256  # scalar products of a block


def in_pieces(size: int, piece: int) -> int:
    """Return how many pieces cover `size`."""
    return -(-size // piece)


def blocks_of_lines(positions: int, length: int) -> int:
    """Return the number of tiles of ROWS positions on all lines of this length."""
    return positions // length * in_pieces(length, ROWS)


def short_rows(length: int) -> int:
    """Return the rows of a block that holds a line of this length: 16 for each warp."""
    return in_pieces(length, 16) * 16


def attend_short_bytes(rows: int) -> int:
    """Return the shared memory of a block of `attend_short`: four tiles."""
    return rows * 4 * (SHORT_SLICE + 8) * 2


def gradients_short_bytes(rows: int) -> int:
    """Return the shared memory of a block of `gradients_short`: weights and four tiles."""
    return rows * (rows + 8 + 4 * (32 + 8)) * 2


def span_of(lines: int, channels: int) -> int:
    """Return how many value channels a block takes: all, or fewer where there are not enough lines for the device."""
    slices = in_pieces(channels, SHORT_SLICE)
    return in_pieces(slices, min(in_pieces(ENOUGH_BLOCKS, lines), slices)) * SHORT_SLICE


def blocks_of_pixels(images: int, frames: int, height: int, width: int) -> int:
    """Return the number of tiles of pixels in all images."""
    return images * frames * in_pieces(height, TILE_HEIGHT) * in_pieces(width, TILE_WIDTH)
