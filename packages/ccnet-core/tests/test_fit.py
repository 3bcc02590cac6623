import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccnet_core.fit import Fit

SIZE = st.tuples(st.integers(1, 600), st.integers(1, 600))
CROP = st.tuples(st.integers(2, 500), st.integers(2, 500))
quickly = settings(deadline=None, max_examples=100)


def by_three_points(size, crop):
    """CE2P's affine map, float64 (2, 3), from what it makes of three points: the middle, a point above, one beside."""
    (height, width), (rows, columns) = size, crop
    box = max(width - 1, (height - 1) * columns / rows)
    middle, target = ((width - 1) / 2, (height - 1) / 2), ((columns - 1) / 2, (rows - 1) / 2)
    source = [middle, (middle[0], middle[1] - box / 2), (middle[0] - box / 2, middle[1])]
    there = [target, (target[0], target[1] - (columns - 1) / 2), (target[0] - (columns - 1) / 2, target[1])]
    return np.linalg.solve([(x, y, 1) for x, y in source], there).T


@quickly
@given(SIZE.filter(lambda size: size != (1, 1)), CROP)
def test_pixels_go_where_the_affine_map_of_ce2p_takes_them(size, crop):
    fit, matrix = Fit(size, crop), by_three_points(size, crop)
    rows, columns = (matrix[axis, axis] * np.arange(size[1 - axis]) + matrix[axis, 2] for axis in (1, 0))
    assert abs(matrix[0, 1]) < 1e-9
    np.testing.assert_allclose(fit.in_crop(0), rows.clip(0, crop[0] - 1), atol=1e-9)
    np.testing.assert_allclose(fit.in_crop(1), columns.clip(0, crop[1] - 1), atol=1e-9)
    assert rows.min() >= -0.5  # so that clipping moves a pixel by no more than this
    assert rows.max() <= crop[0] - 0.5


@quickly
@given(SIZE, CROP, st.integers(0, 1))
def test_the_way_there_and_the_way_back_undo_each_other(size, crop, axis):
    fit = Fit(size, crop)
    there, back = fit.in_crop(axis).numpy(), fit.in_picture(axis).numpy()
    inside = (there > 0) & (there < crop[axis] - 1)
    found = np.interp(there[inside], np.arange(crop[axis]), back)
    np.testing.assert_allclose(found, np.arange(size[axis])[inside], atol=1e-6)


@quickly
@given(SIZE, CROP, st.integers(0, 1))
def test_a_mirror_image_lies_as_the_mirror_image_of_the_crop(size, crop, axis):
    fit = Fit(size, crop)
    np.testing.assert_allclose(fit.in_crop(axis).flip(0), crop[axis] - 1 - fit.in_crop(axis), atol=1e-9)
    np.testing.assert_allclose(fit.in_picture(axis).flip(0), size[axis] - 1 - fit.in_picture(axis), atol=1e-9)


def test_one_pixel_fills_the_crop_from_middle_to_middle():
    fit = Fit((1, 1), (5, 9))
    assert fit.in_crop(0).tolist() == [2]
    assert fit.in_crop(1).tolist() == [4]
    assert fit.in_picture(1).tolist() == [-0.5, -0.375, -0.25, -0.125, 0, 0.125, 0.25, 0.375, 0.5]


@pytest.mark.parametrize(("place", "expected"), [((0, 0), (0, 24)), ((199, 0), (98, 24)), ((99, 50), (49, 49))])
def test_a_pixel_of_the_picture_is_the_nearest_one_of_the_crop(place, expected):
    """200 x 101 pixels in 99 x 99: about half the size, 24.4 pixels of black on both sides."""
    assert Fit((200, 101), (99, 99)).pixel(place) == expected
