from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data import resize
from ccnet_data.resize import resize_crop, resize_label, resize_masks


def slow_bilinear(image, size):
    """Mix the four pixels around each centre in float64; beyond the last centre the picture goes on as it ends."""
    (height, width), (rows, columns) = image.shape[1:], size
    result = np.empty((3, rows, columns))
    for row, column in np.ndindex(size):
        y = min(max((row + 0.5) * height / rows - 0.5, 0), height - 1)
        x = min(max((column + 0.5) * width / columns - 0.5, 0), width - 1)
        top, left = int(y), int(x)
        below, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = image[:, top, left] * (1 - (x - left)) + image[:, top, right] * (x - left)
        lower = image[:, below, left] * (1 - (x - left)) + image[:, below, right] * (x - left)
        result[:, row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return result


def everything(size):
    return slice(0, size[0]), slice(0, size[1])


def test_labels_take_the_nearest_value_and_never_mix():
    label = np.array([[0, 255], [7, 3]], np.uint8)
    expected = label.repeat(2, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(resize_label(label, (4, 6), everything((4, 6))), expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 9), (20, 13), (14, 27)])
def test_a_label_is_the_one_under_the_centre_of_its_pixel(size):
    label = np.arange(63, dtype=np.uint8).reshape(7, 9)
    resized = resize_label(label, size, everything(size))
    for row, column in np.ndindex(size):
        y, x = Fraction(2 * row + 1, 2 * size[0]) * 7, Fraction(2 * column + 1, 2 * size[1]) * 9
        assert resized[row, column] == label[int(y), int(x)]


@pytest.mark.parametrize("size", [(1, 1), (5, 20), (7, 9), (14, 3)])
@pytest.mark.parametrize("count", [0, 3])
def test_masks_are_resized_as_labels_are(size, count):
    masks = np.random.default_rng(0).random((count, 7, 9)) < 0.5
    resized = resize_masks(masks, size)
    assert (resized.shape, resized.dtype, resized.flags.c_contiguous) == ((count, *size), bool, True)
    for mask, small in zip(masks, resized, strict=True):
        np.testing.assert_array_equal(small, resize_label(mask.astype(np.uint8), size, everything(size)))


def test_what_is_alike_stays_as_it_is():
    for grey in range(256):
        image = np.full((3, 5, 7), grey, np.uint8)
        assert (resize_crop(image, (11, 9), everything((11, 9))) == grey).all()


def test_blocks_leave_no_seams(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 60), np.uint8)
    expected = resize_crop(image, (70, 50), everything((70, 50)))
    for pixels in (1, 61, 400):
        monkeypatch.setattr(resize, "_BLOCK", pixels)
        np.testing.assert_array_equal(resize_crop(image, (70, 50), everything((70, 50))), expected)


def test_pictures_are_interpolated_bilinearly_between_pixel_centres():
    image = np.tile(np.array([0, 100], np.uint8), (3, 1, 1))
    np.testing.assert_array_equal(resize_crop(image, (1, 4), np.s_[0:1, 0:4])[0], [[0, 25, 75, 100]])


@pytest.mark.parametrize("size", [(1, 1), (9, 8), (20, 30), (23, 31), (77, 100)])
def test_pictures_are_the_four_pixels_around_each_centre_mixed_and_rounded_down(size):
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 60), np.uint8)
    expected = slow_bilinear(image, size)
    # Three steps in float32, each off by 2^-24 of 255 at most, move a value by 5e-5 at most.
    exact = np.floor(expected + 1e-4)
    resized = resize_crop(image, size, everything(size))
    assert ((resized == exact) | (resized == np.floor(expected - 1e-4))).all()


@given(
    source=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    data=st.data(),
)
def test_an_area_has_the_bits_of_the_whole_resized_picture_there(source, size, data):
    image = np.random.default_rng(0).integers(0, 256, (3, *source), np.uint8)
    starts = [data.draw(st.integers(0, extent - 1)) for extent in size]
    stops = [data.draw(st.integers(start + 1, extent)) for start, extent in zip(starts, size, strict=True)]
    area = (slice(starts[0], stops[0]), slice(starts[1], stops[1]))
    whole = resize_crop(image, size, everything(size))
    np.testing.assert_array_equal(resize_crop(image, size, area), whole[:, *area])
    label = image[0]
    whole_label = resize_label(label, size, everything(size))
    np.testing.assert_array_equal(resize_label(label, size, area), whole_label[area])
