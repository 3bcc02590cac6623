"""The numbers that a warm start needs without Numba, beside those that the kernels were written with."""

import pytest

from ccnet_kernels.cuda import (
    grids,
    line_gradients,
    lines,
    pixel_attention,
    pixel_gradients,
    pixel_walk,
    short_attention,
    short_gradients,
    short_lines,
)


def test_they_are_the_numbers_of_the_kernels():
    assert (grids.ROWS, grids.LINE_CHANNELS, grids.LINE_SLICE) == (lines.ROWS, lines.CHANNELS, lines.SLICE)
    assert grids.LINE_DOTS == line_gradients.POSITIONS_OF_BLOCK == lines.THREADS // 32
    assert (grids.TILE_HEIGHT, grids.TILE_WIDTH) == (pixel_walk.TILE_HEIGHT, pixel_walk.TILE_WIDTH)
    assert (grids.PIXEL_CHANNELS, grids.PIXEL_SLICE) == (pixel_attention.CHUNK, pixel_gradients.CHUNK)
    assert grids.PIXEL_DOTS == pixel_walk.THREADS
    assert (grids.SHORT, 2 * grids.SHORT, grids.SHORT_SLICE) == (
        short_lines.MOST,
        short_lines.THREADS,
        short_attention.SLICE,
    )
    assert grids.attend_short_bytes(grids.SHORT) == short_attention.SHARED
    assert grids.gradients_short_bytes(grids.SHORT) == short_gradients.SHARED


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3)])
def test_pieces_cover_a_size(size, pieces):
    assert grids.in_pieces(size, 64) == pieces


def test_every_line_is_cut_into_tiles():
    assert grids.blocks_of_lines(2 * 5 * 97, 97) == 2 * 5 * 2
    assert grids.blocks_of_lines(2 * 5 * 97, 5) == 2 * 97


def test_every_image_is_cut_into_tiles_of_pixels():
    assert grids.blocks_of_pixels(2, 3, 9, 17) == 2 * 3 * 3 * 3


@pytest.mark.parametrize(("length", "rows"), [(1, 16), (16, 16), (17, 32), (97, 112), (128, 128)])
def test_a_short_line_has_rows_for_whole_warps(length, rows):
    assert grids.short_rows(length) == rows


@pytest.mark.parametrize(
    ("lines", "channels", "span"), [(8 * 97, 512, 512), (97, 512, 192), (16, 512, 64), (1, 8, 64), (263, 512, 256)]
)
def test_a_block_takes_fewer_channels_where_lines_are_few(lines, channels, span):
    assert grids.span_of(lines, channels) == span
