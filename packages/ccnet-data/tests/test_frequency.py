import numpy as np
import pytest
from PIL import Image

from ccnet_data.frequency import Frequency, class_frequency
from ccnet_data.labels import ClassLabels
from ccnet_data.layouts.pairs import Pair, PairDataset
from ccnet_data.registry import load


def frequency(pixels):
    return Frequency(pixels=np.array(pixels), pictures=np.zeros(len(pixels), np.int64))


@pytest.fixture
def dataset(tmp_path):
    pairs = []
    for number, label in enumerate([[0, 0, 2], [255, 2, 2], [0, 255, 255]]):
        pair = Pair(id=str(number), picture=tmp_path / f"{number}.jpg", label=tmp_path / f"{number}.png")
        Image.fromarray(np.array([label], np.uint8)).save(pair.label)
        Image.new("RGB", (3, 1)).save(pair.picture)
        pairs.append(pair)
    read_label = ClassLabels(count=3)
    return PairDataset(pairs=pairs, classes=("a", "b", "c"), palette=((0, 0, 0),) * 3, read_label=read_label)


def test_pixels_and_pictures_are_counted_per_class_without_the_ignored(dataset):
    counted = class_frequency(dataset)
    np.testing.assert_array_equal(counted.pixels, [3, 0, 3])
    np.testing.assert_array_equal(counted.pictures, [2, 0, 2])
    assert counted.pixels.dtype == counted.pictures.dtype == np.int64


def test_pictures_of_pairs_are_not_decoded(dataset):
    for pair in dataset.pairs:
        pair.picture.write_bytes(b"")
    np.testing.assert_array_equal(class_frequency(dataset).pixels, [3, 0, 3])


def test_several_processes_count_the_same():
    beacon = load("beacon", split="train", length=40)
    alone, shared = (class_frequency(beacon, workers) for workers in (0, 2))
    np.testing.assert_array_equal(shared.pixels, alone.pixels)
    np.testing.assert_array_equal(shared.pictures, alone.pictures)
    assert alone.pixels.sum() == 40 * 64 * 64
    assert (alone.pictures[0], alone.pictures[1:].sum()) == (40, 40)


class Objects:
    task, classes = "instances", ("a", "b", "c")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        masks = np.zeros((3, 4, 4), bool)
        masks[0, :2], masks[1, 0, :3], masks[2] = True, True, True
        return {"masks": masks, "classes": np.array([1, 1, 0]), "crowd": np.array([False, False, True])}


def test_masks_count_whole_and_crowds_not_at_all():
    counted = class_frequency(Objects())
    np.testing.assert_array_equal(counted.pixels, [0, 22, 0])
    np.testing.assert_array_equal(counted.pictures, [0, 2, 0])


def test_weights_are_the_share_to_the_power_of_minus_a_half():
    np.testing.assert_allclose(frequency([25, 75]).share, [0.25, 0.75])
    np.testing.assert_allclose(frequency([25, 75]).weights, [2, (4 / 3) ** 0.5])


def test_a_class_without_pixels_weighs_nothing():
    np.testing.assert_array_equal(frequency([7, 0]).weights, [1, 0])
    np.testing.assert_array_equal(frequency([0, 0]).weights, [0, 0])
