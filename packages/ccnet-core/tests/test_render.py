import numpy as np
import pytest
from PIL import Image

from ccnet_core import render

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 100, 0))


def test_labels_are_painted_and_ignored_pixels_are_black():
    painted = render.colour_labels(np.array([[1, 2, 255]], np.uint8), PALETTE)
    assert painted.tolist() == [[[200, 0, 0], [0, 100, 0], [0, 0, 0]]]


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, 100), (0.5, 150), (1.0, 200)])
def test_overlay_blends(opacity, expected):
    picture = np.full((1, 1, 3), 100, np.uint8)
    assert render.overlay(picture, np.array([[1]], np.uint8), PALETTE, opacity)[0, 0, 0] == expected


def test_label_png_holds_the_classes_and_the_palette(tmp_path):
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    render.write_png(tmp_path / "a.png", render.label_png(labels, PALETTE))
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "P"
        np.testing.assert_array_equal(np.asarray(stored), labels)
        assert stored.getpalette()[:9] == [0, 0, 0, 200, 0, 0, 0, 100, 0]


def test_label_png_of_many_classes_keeps_their_numbers(tmp_path):
    render.write_png(tmp_path / "a.png", render.label_png(np.array([[299]], np.int32), PALETTE))
    with Image.open(tmp_path / "a.png") as stored:
        assert np.asarray(stored).tolist() == [[299]]


def test_rows_are_stacked_to_the_widest():
    rows = [np.zeros((2, 3, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)]
    assert render.stack(rows).shape == (2 + render.GAP + 4, 5, 3)


def test_truth_and_prediction_stand_beside_the_picture():
    picture, labels = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.uint8)
    row = render.side_by_side(picture, labels, labels, PALETTE)
    assert row.shape == (4, 3 * 6 + 2 * render.GAP, 3)
    assert row[0, -1].tolist() == [200, 0, 0]


def test_attention_is_hottest_where_the_weight_is():
    weights = np.zeros((4, 4), np.float32)
    weights[1, 2] = 1
    drawn = render.attention_picture(np.full((64, 64, 3), 90, np.uint8), (0, 63), [weights], smallest_width=64)
    assert drawn.shape == (64, 128 + render.GAP, 3)
    heat = drawn[:, 64 + render.GAP :].astype(int).sum(-1)
    hot = np.zeros((64, 64), bool)
    hot[16:32, 32:48] = True
    assert heat[hot].min() > heat[~hot][: 16 * 64].max()


def test_small_pictures_are_enlarged_by_a_whole_factor():
    drawn = render.attention_picture(np.zeros((10, 100, 3), np.uint8), (0, 0), [np.ones((1, 1), np.float32)])
    assert drawn.shape == (30, 600 + render.GAP, 3)
