import numpy as np
import pytest
from PIL import Image

from ccnet_data.figures.canvas import LINE, Canvas, ellipse

RED = (200, 0, 0)


def canvas(scale=20.0, origin=20 + 15j, size=(50, 40)):
    return Canvas(Image.new("RGB", size, (90, 90, 90)), scale, origin)


def points(shape=(40, 50), scale=20.0, origin=20 + 15j):
    """The point of the figure at the middle of each pixel."""
    y, x = np.indices(shape)
    return (x + 1j * y + 0.5 + 0.5j - origin) / scale


def distance(point, start, end):
    """From each point to the nearest of the line from start to end."""
    along = np.clip(((point - start) * np.conj(end - start)).real / abs(end - start) ** 2, 0, 1)
    return np.abs(point - start - along * (end - start))


def test_a_limb_is_what_is_near_the_line_through_its_joints():
    drawn = canvas()
    drawn.limb((0j, 0.8 + 0.5j), (0.2, 0.2), RED, 7)
    _, label = drawn.finished()
    away = distance(points(), 0j, 0.8 + 0.5j)
    half_a_pixel = 0.5 / 20
    assert (label[away < 0.2 - half_a_pixel] == 7).all()
    assert (label[away > 0.2 + half_a_pixel] == 0).all()


def test_picture_and_labels_agree():
    drawn = canvas()
    drawn.shape((0j, 1 + 0j, 1 + 1j, 1j), RED, 5)
    picture, label = drawn.finished()
    assert (picture.shape, picture.dtype, label.shape, label.dtype) == ((40, 50, 3), np.uint8, (40, 50), np.uint8)
    rows, columns = np.nonzero(label)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 34, 20, 39)
    np.testing.assert_array_equal(picture[25, 30], RED)
    np.testing.assert_array_equal(picture[2, 2], (90, 90, 90))


def test_a_shape_lies_where_it_belongs_to_a_tenth_of_a_pixel():
    drawn = canvas()
    drawn.detail(ellipse(0, 0.5, 0.5), RED)
    red = drawn.finished()[0][..., 0].astype(float) - 90
    y, x = np.indices(red.shape) + 0.5
    middle = complex((x * red).sum(), (y * red).sum()) / red.sum()
    assert abs(middle - (20 + 15j)) < 0.1


def test_an_outline_is_darker_and_has_the_class_of_its_shape():
    drawn = canvas(scale=200, origin=5 + 5j)
    drawn.shape((0j, 0.18 + 0j, 0.18 + 0.15j, 0.15j), RED, 5)
    picture, label = drawn.finished()
    inside = round(LINE * 200) // 2
    assert label[6 + inside, 20] == 5
    assert picture[6 + inside, 20].tolist() == [120, 0, 0]
    assert picture[20, 20].tolist() == list(RED)


def test_a_detail_changes_the_picture_alone():
    drawn = canvas()
    drawn.shape((0j, 1 + 0j, 1 + 1j, 1j), RED, 5)
    before = drawn.finished()[1]
    drawn.detail(ellipse(0.5 + 0.5j, 0.2, 0.2), (0, 0, 0))
    picture, label = drawn.finished()
    np.testing.assert_array_equal(label, before)
    assert picture[25, 30].tolist() == [0, 0, 0]


def test_a_figure_is_turned_clockwise_by_its_scale():
    drawn = canvas(scale=20 * np.exp(0.5j * np.pi))
    drawn.limb((0j, 0.6 + 0j), (0.1, 0.1), RED, 3)
    label = drawn.finished()[1]
    assert label[25, 20] == 3  # to the right of the figure is down in the picture
    assert label[15, 30] == 0


def test_an_ellipse_has_its_radii_and_turn():
    found = (ellipse(1 + 2j, 3, 1, turn=0.4) - (1 + 2j)) * np.exp(-0.4j)
    assert (found.real / 3) ** 2 + found.imag**2 == pytest.approx(np.ones(33))


def test_half_an_ellipse_is_its_upper_half():
    found = ellipse(0, 2, 1, top=0.5)
    assert found.imag.max() == pytest.approx(0)
    assert (found[0], found[-1]) == (pytest.approx(-2), pytest.approx(2))
