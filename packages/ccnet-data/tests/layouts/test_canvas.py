import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.canvas import Canvas

STAR = [(10.3, 2.2), (13.1, 9.4), (20.6, 9.9), (14.8, 14.7), (16.9, 22.1), (10.4, 18.0), (4.2, 22.3), (6.1, 14.9)]
SIZE = (26, 24)


def outline_and_side(corners, x, y):
    """Return the distance of (x, y) to the outline, and whether it is inside by the count of crossings to the right."""
    nearest, inside = np.inf, False
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2)
        along = min(1, max(0, along))
        nearest = min(nearest, np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1)))
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return nearest, inside


def test_a_polygon_is_right_to_a_pixel_and_includes_its_outline():
    canvas = Canvas(SIZE, ("star",), "a.json")
    canvas.polygon(STAR, 0)
    label = canvas.label()
    away = 0
    for row, column in np.ndindex(SIZE):
        distance, inside = outline_and_side(STAR, column + 0.5, row + 0.5)
        if distance > 1.25:
            away += 1
            assert label[row, column] == (0 if inside else 255), (row, column)
    assert away > 350
    assert all(label[int(y), int(x)] == 0 for x, y in STAR)


def test_corners_go_to_the_pixel_that_holds_them():
    canvas = Canvas((6, 7), ("a",), "a.json")
    canvas.polygon([(1.9, 1.9), (4.1, 1.1), (4.9, 3.9), (1.0, 3.0)], 0)
    expected = np.full((6, 7), 255)
    expected[1:4, 1:5] = 0
    np.testing.assert_array_equal(canvas.label(), expected)


def test_what_is_drawn_later_covers_what_was_drawn_before():
    canvas = Canvas((6, 6), ("a", "b", "c"), "a.json")
    canvas.polygon([(0, 0), (5, 0), (5, 5), (0, 5)], 0)
    canvas.ellipse(2, 2, 4, 4, 1)
    canvas.mask(np.array([[True, False], [True, True]]), (0, 4), 2)
    assert canvas.label().tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [2, 0, 0, 1, 0, 0],
        [2, 2, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(("classes", "empty"), [(("a", "b"), 255), (("a", "background"), 1)])
def test_pixels_without_a_shape_are_background_or_ignored(classes, empty):
    np.testing.assert_array_equal(Canvas((2, 3), classes, "a.json").label(), np.full((2, 3), empty))


def test_an_unknown_class_gets_the_nearest():
    canvas = Canvas((2, 3), ("road", "sky"), "a.json")
    assert canvas.value("sky", "a.json: shape 3") == 1
    with pytest.raises(DataError, match=r"^a\.json: shape 3 is of the class 'raod', .*Did you mean 'road'\?"):
        canvas.value("raod", "a.json: shape 3")


def test_a_size_that_no_picture_has_is_refused():
    with pytest.raises(DataError, match=r"^a\.json: a label of 1000000x1000000 is too large"):
        Canvas((10**6, 10**6), ("a",), "a.json")
