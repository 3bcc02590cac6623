"""The numbers that a warm start needs without Numba, beside those that the kernels were written with."""

import pytest

from ccnet_kernels.cuda import grids, line_gradients, lines, pixel_attention, pixel_gradients, pixel_walk


def test_they_are_the_numbers_of_the_kernels():
    assert (grids.ROWS, grids.LINE_CHANNELS, grids.LINE_SLICE) == (lines.ROWS, lines.CHANNELS, lines.SLICE)
    assert grids.LINE_DOTS == line_gradients.POSITIONS_OF_BLOCK == lines.THREADS // 32
    assert (grids.TILE_HEIGHT, grids.TILE_WIDTH) == (pixel_walk.TILE_HEIGHT, pixel_walk.TILE_WIDTH)
    assert (grids.PIXEL_CHANNELS, grids.PIXEL_SLICE) == (pixel_attention.CHUNK, pixel_gradients.CHUNK)
    assert grids.PIXEL_DOTS == pixel_walk.THREADS


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3)])
def test_pieces_cover_a_size(size, pieces):
    assert grids.in_pieces(size, 64) == pieces


def test_every_line_is_cut_into_tiles():
    assert grids.blocks_of_lines(2 * 5 * 97, 97) == 2 * 5 * 2
    assert grids.blocks_of_lines(2 * 5 * 97, 5) == 2 * 97


def test_every_image_is_cut_into_tiles_of_pixels():
    assert grids.blocks_of_pixels(2, 3, 9, 17) == 2 * 3 * 3 * 3
