from types import SimpleNamespace

import numpy as np
import pytest

from ccnet_data.overlay import DARK, LIGHT, hatch, tint, view

PALETTE = ((200, 0, 100), (0, 200, 0), (0, 0, 200))


def dataset(task):
    return SimpleNamespace(task=task, palette=PALETTE)


def test_a_tint_mixes_six_tenths_of_the_class_colour():
    mixed = tint(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 1]], np.uint8), PALETTE)
    np.testing.assert_array_equal(mixed, [[[160, 40, 100], [40, 160, 40]]])


def test_labels_without_a_colour_are_not_tinted():
    picture = np.full((1, 2, 3), 100, np.uint8)
    np.testing.assert_array_equal(tint(picture, np.array([[3, 255]], np.uint8), PALETTE), picture)


def test_a_hatch_draws_dark_and_light_diagonals_over_its_region_alone():
    picture = np.full((10, 16, 3), 100, np.uint8)
    region = np.zeros((10, 16), bool)
    region[:, :8] = True
    hatched = hatch(picture, region)
    np.testing.assert_array_equal(hatched[:, 8:], 100)
    for y, x in np.ndindex(10, 8):
        expected = {0: DARK, 1: DARK, 2: LIGHT, 3: LIGHT}.get((x + y) % 8, (100, 100, 100))
        assert tuple(hatched[y, x]) == expected


@pytest.mark.parametrize(("height", "width", "shown"), [(4, 8, (32, 64)), (100, 50, (64, 32)), (1000, 1, (64, 1))])
def test_a_view_is_fitted_to_its_longer_side(height, width, shown):
    sample = {"image": np.zeros((3, height, width), np.uint8), "label": np.zeros((height, width), np.uint8), "id": "a"}
    seen = view(sample, dataset("segmentation"), 64)
    assert (seen.picture.size, seen.overlay.size) == (shown[::-1], shown[::-1])


def test_an_enlarged_label_keeps_its_edges_on_those_of_the_picture():
    label = np.array([[0, 1], [2, 255]], np.uint8)
    image = np.stack([label * 50] * 3)
    seen = view({"image": image, "label": label, "id": "a"}, dataset("segmentation"), 32)
    whole = np.kron(label, np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(np.asarray(seen.picture)[..., 0], whole * 50)
    expected = hatch(tint(np.asarray(seen.picture), whole, PALETTE), whole == 255)
    np.testing.assert_array_equal(np.asarray(seen.overlay), expected)
    assert seen.labels == {0, 1, 2, 255}


def test_a_label_made_smaller_is_that_of_the_centre():
    label = np.zeros((3, 3), np.uint8)
    label[1, 1] = 1
    sample = {"image": np.full((3, 3, 3), 100, np.uint8), "label": label, "id": "a"}
    seen = view(sample, dataset("segmentation"), 1)
    np.testing.assert_array_equal(np.asarray(seen.overlay), [[[40, 160, 40]]])


def test_labels_too_small_to_be_seen_count_as_occurring():
    label = np.zeros((900, 900), np.uint8)
    label[1, 1] = 2
    sample = {"image": np.zeros((3, 900, 900), np.uint8), "label": label, "id": "a"}
    assert view(sample, dataset("segmentation"), 30).labels == {0, 2}


def test_of_a_clip_the_last_frame_is_shown():
    frames = np.stack([np.full((3, 4, 4), value, np.uint8) for value in (10, 20, 30)])
    seen = view({"image": frames, "label": np.ones((4, 4), np.uint8), "id": "a"}, dataset("video"), 8)
    assert (np.asarray(seen.picture) == 30).all()
    np.testing.assert_array_equal(np.asarray(seen.overlay)[0, 0], [12, 132, 12])


def objects(crowd=False):
    masks = np.zeros((2, 20, 40), bool)
    masks[0, 5:15, 5:25] = True
    masks[1, 8:12, 10:14] = True
    return {
        "image": np.full((3, 20, 40), 100, np.uint8),
        "boxes": np.array([[10, 8, 14, 12], [5, 5, 25, 15]], np.float32),
        "masks": masks[::-1].copy(),
        "classes": np.array([1, 0]),
        "crowd": np.array([False, crowd]),
        "id": "a",
    }


def test_objects_have_their_colour_and_a_box_and_small_ones_lie_on_top():
    seen = view(objects(), dataset("instances"), 80)
    drawn = np.asarray(seen.overlay)
    np.testing.assert_array_equal(drawn[2, 2], [100, 100, 100])
    np.testing.assert_array_equal(drawn[14, 14], [160, 40, 100])
    np.testing.assert_array_equal(drawn[20, 24], np.round([160 * 0.4, 40 * 0.4 + 120, 100 * 0.4]))
    np.testing.assert_array_equal(drawn[10, 10], PALETTE[0])
    np.testing.assert_array_equal(drawn[16, 20], PALETTE[1])
    assert seen.labels == {0, 1}


def test_a_box_that_ends_with_the_picture_shows_all_its_sides():
    sample = {**objects(), "boxes": np.array([[30, 10, 40, 20], [0, 0, 1, 1]], np.float32)}
    drawn = np.asarray(view(sample, dataset("instances"), 80).overlay)
    assert (drawn[20:, 79] == PALETTE[1]).all()
    assert (drawn[39, 60:] == PALETTE[1]).all()
    assert (drawn[0, :2] == PALETTE[0]).all()
    assert not (drawn[0, 2] == PALETTE[0]).all()


def test_a_crowd_is_hatched_and_said():
    seen = view(objects(crowd=True), dataset("instances"), 80)
    inside = np.asarray(seen.overlay)[11:15, 11:49].reshape(-1, 3)
    assert {tuple(colour) for colour in inside.tolist()} == {DARK, LIGHT, (100, 100, 100)}
    assert seen.labels == {0, 1, 255}


def test_a_picture_without_objects_is_shown_as_it_is():
    empty = {
        "image": np.full((3, 4, 4), 9, np.uint8),
        "boxes": np.zeros((0, 4), np.float32),
        "masks": np.zeros((0, 4, 4), bool),
        "classes": np.zeros(0, np.int64),
        "crowd": np.zeros(0, bool),
        "id": "a",
    }
    seen = view(empty, dataset("instances"), 8)
    np.testing.assert_array_equal(np.asarray(seen.overlay), np.asarray(seen.picture))
    assert seen.labels == frozenset()
