import numpy as np
from PIL import Image

from ccnet_data.frequency import class_frequency, class_weights
from ccnet_data.labels import ClassLabels
from ccnet_data.layouts.pairs import Pair, PairDataset


def test_frequency_counts_pixels_per_class_without_the_ignored(tmp_path):
    labels = [np.array([[0, 0, 2]], np.uint8), np.array([[255, 2, 2]], np.uint8)]
    pairs = []
    for number, label in enumerate(labels):
        Image.fromarray(label).save(tmp_path / f"{number}-label.png")
        Image.new("RGB", (3, 1)).save(tmp_path / f"{number}.png")
        pairs.append(Pair(id=str(number), picture=tmp_path / f"{number}.png", label=tmp_path / f"{number}-label.png"))
    read_label = ClassLabels(count=3)
    dataset = PairDataset(pairs=pairs, classes=("a", "b", "c"), palette=((0, 0, 0),) * 3, read_label=read_label)
    counts = class_frequency(dataset)
    np.testing.assert_array_equal(counts, [2, 0, 3])
    assert counts.dtype == np.int64


def test_weights_are_the_share_to_the_power_of_minus_a_half():
    np.testing.assert_allclose(class_weights(np.array([25, 75])), [2, (4 / 3) ** 0.5])


def test_a_class_without_pixels_weighs_nothing():
    np.testing.assert_array_equal(class_weights(np.array([7, 0])), [1, 0])
    np.testing.assert_array_equal(class_weights(np.array([0, 0])), [0, 0])
