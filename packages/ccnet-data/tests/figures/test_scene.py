import numpy as np
import pytest

from ccnet_data.figures.figure import PART
from ccnet_data.figures.scene import NOISE, draw_scene


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(96, np.random.default_rng(seed)) for seed in range(60)]


def test_a_picture_has_three_channels_and_a_label_for_each_pixel(scenes):
    for image, label in scenes:
        assert image.shape == (3, *label.shape)
        assert image.dtype == label.dtype == np.uint8
        assert image.flags.c_contiguous
        assert label.flags.c_contiguous


def test_a_person_fills_the_picture(scenes):
    for _, label in scenes:
        rows, columns = np.nonzero(label)
        assert np.ptp(rows) > 0.7 * label.shape[0]
        assert np.ptp(columns) > 0.5 * label.shape[1]


def test_most_pictures_reach_to_the_shoes_and_some_end_above(scenes):
    shod = np.mean([(label == PART["Left-shoe"]).any() for _, label in scenes])
    assert 0.6 < shod < 0.95
    assert all((label == PART["Face"]).any() for _, label in scenes)


def test_the_background_is_seen_at_all_sides_and_is_never_plain(scenes):
    for image, label in scenes:
        background = image[:, label == PART["Background"]]
        assert (label[0] == 0).all()
        assert background.std(axis=1).min() > NOISE / 2


def test_the_smallest_size_has_room():
    image, label = draw_scene(32, np.random.default_rng(0))
    assert max(label.shape) <= 32
    assert len(np.unique(label)) > 5
    assert image.std() > 10
