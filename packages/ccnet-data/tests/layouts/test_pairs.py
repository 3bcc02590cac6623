import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.layouts.pairs import Pair, PairDataset
from ccnet_data.testing import check_dataset


@pytest.fixture
def dataset(tmp_path):
    pairs = []
    for number in range(3):
        pair = Pair(id=f"p{number}", picture=tmp_path / f"{number}.png", label=tmp_path / f"{number}-label.png")
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(pair.picture)
        Image.fromarray(np.full((4, 6), number, np.uint8)).save(pair.label)
        pairs.append(pair)
    return PairDataset(pairs=tuple(pairs), classes=("a", "b", "c"), palette=((0, 0, 0),) * 3)


def test_it_conforms(dataset):
    check_dataset(dataset)


def test_samples_come_in_the_order_of_the_pairs(dataset):
    assert [(sample["id"], sample["image"].max(), sample["label"].max()) for sample in dataset] == [
        ("p0", 0, 0),
        ("p1", 1, 1),
        ("p2", 2, 2),
    ]


@pytest.mark.parametrize("kind", ["picture", "label"])
def test_a_damaged_file_is_named_when_its_sample_is_read(dataset, kind):
    file = getattr(dataset.pairs[1], kind)
    file.write_bytes(b"")
    dataset[0]
    with pytest.raises(DataError, match=f"{file.name}: the file is empty"):
        dataset[1]


def test_a_file_that_vanished_is_named(dataset):
    dataset.pairs[2].label.unlink()
    with pytest.raises(DataError, match=r"2-label\.png: cannot be read"):
        dataset[2]


def test_a_label_of_another_size_names_both_files(dataset):
    Image.fromarray(np.zeros((6, 4), np.uint8)).save(dataset.pairs[0].label)
    with pytest.raises(DataError, match=r"0\.png and .*0-label\.png: the picture is 6x4 .* label is 4x6"):
        dataset[0]


def test_a_label_above_the_classes_names_the_file(dataset):
    Image.fromarray(np.full((4, 6), 3, np.uint8)).save(dataset.pairs[0].label)
    with pytest.raises(DataError, match=r"0-label\.png: label values 3 are outside the 3 classes"):
        dataset[0]
