import builtins

import numpy as np
import pytest
from pycocotools import mask

from ccnet_data.errors import DataError
from ccnet_data.layouts.regions import polygon_parts, region_fault, region_mask, require_pycocotools

STAR = [10.3, 2.2, 13.1, 9.4, 20.6, 9.9, 14.8, 14.7, 16.9, 22.1, 10.4, 18.0, 4.2, 22.3, 6.1, 14.9, 0.4, 9.8, 7.7, 9.2]
SIZE = (24, 22)


def distance_and_side(polygon, x, y):
    """Return the distance of (x, y) to the outline, and whether it is inside by the count of crossings to the right."""
    corners = np.array(polygon).reshape(-1, 2)
    nearest, inside = np.inf, False
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, 0), strict=True):
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2)
        along = min(1, max(0, along))
        nearest = min(nearest, np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1)))
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return nearest, inside


def test_a_polygon_holds_the_pixels_whose_centres_are_in_it():
    drawn = region_mask([STAR], SIZE, "a.json: annotation 1")
    assert drawn.dtype == bool
    away = 0
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            distance, inside = distance_and_side(STAR, column + 0.5, row + 0.5)
            if distance > 0.5:
                away += 1
                assert drawn[row, column] == inside, (row, column)
    assert away > 300


def test_parts_are_joined_and_those_without_area_passed_over():
    square, other = [1, 1, 5, 1, 5, 5, 1, 5], [8, 8, 12, 8, 12, 12, 8, 12]
    drawn = region_mask([[3, 3, 20, 20], square, other], SIZE, "here")
    np.testing.assert_array_equal(drawn, region_mask([square], SIZE, "here") | region_mask([other], SIZE, "here"))
    assert (drawn[1:5, 1:5].all(), drawn.sum()) == (True, 32)
    assert polygon_parts([[3, 3, 20, 20], square]) == [square]
    assert not region_mask([[3, 3, 20, 20]], SIZE, "here").any()


def test_run_lengths_go_down_the_columns():
    expected = np.zeros((3, 4), bool)
    expected[1:, 0] = expected[0, 1] = True
    np.testing.assert_array_equal(region_mask({"size": [3, 4], "counts": [1, 3, 8]}, (3, 4), "here"), expected)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_compressed_run_lengths_are_those_of_pycocotools(share):
    expected = np.random.default_rng(0).random((61, 47)) < share
    expected[5:40, 7:30] = share > 0
    packed = mask.encode(np.asfortranarray(expected.astype(np.uint8)))
    packed["counts"] = packed["counts"].decode()
    drawn = region_mask(packed, (61, 47), "here")
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.flags.c_contiguous


@pytest.mark.parametrize(
    ("region", "fault"),
    [
        (None, "has no segmentation"),
        ([], "has no segmentation"),
        ([1, 2, 3, 4, 5, 6], "x and y in turns"),
        ([[1, 2, 3, 4, 5]], "x and y in turns"),
        ({"counts": [1]}, "without their size"),
        ({"counts": [1], "size": [3, 4, 5]}, "without their size"),
        ({"counts": None, "size": [3, 4]}, "without counts"),
    ],
)
def test_a_region_of_another_form_is_named(region, fault):
    assert fault in region_fault(region)


@pytest.mark.parametrize("region", [[STAR], [[3, 3, 20, 20]], {"counts": [1], "size": [3, 4]}])
def test_a_region_of_the_right_form_has_no_fault(region):
    assert region_fault(region) is None


@pytest.mark.parametrize(
    "region",
    [
        [["a", 1, 2, 3, 4, 5]],
        [[None, 1, 2, 3, 4, 5]],
        [[float("nan"), 1, 2, 3, 4, 5]],
        [[-1e4, 0, 1e4, 0, 1, 1]],
        {"counts": [10, 3], "size": [24, 22]},
        {"counts": [10, -3], "size": [24, 22]},
        {"counts": [10, "b"], "size": [24, 22]},
        {"counts": "zzzz", "size": [24, 22]},
        {"counts": "ö", "size": [24, 22]},
    ],
)
def test_numbers_that_cannot_be_drawn_name_the_annotation(region):
    with pytest.raises(DataError, match=r"^a\.json: annotation 7 has a segmentation that cannot be drawn"):
        region_mask(region, SIZE, "a.json: annotation 7")


def test_without_pycocotools_the_error_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pycocotools"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    require_pycocotools()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r'python -m pip install "ccnet-data\[coco\]"'):
        require_pycocotools()
