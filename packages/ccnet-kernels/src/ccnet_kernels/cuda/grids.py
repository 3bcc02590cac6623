"""How maps are cut into blocks. No Numba here, so that a process that finds its kernels compiled need not import it."""

ROWS = 64  # positions of a line that a block of the line kernels owns
LINE_CHANNELS = 128  # value channels of such a block
LINE_SLICE = 64  # query or key channels of such a block
LINE_DOTS = 4  # scalar products of a block
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


def blocks_of_pixels(images: int, frames: int, height: int, width: int) -> int:
    """Return the number of tiles of pixels in all images."""
    return images * frames * in_pieces(height, TILE_HEIGHT) * in_pieces(width, TILE_WIDTH)
