import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.labels import ClassLabels
from ccnet_data.layouts.pairs import Names, Pair, PairDataset, match, refuse, stem
from ccnet_data.testing import check_dataset


@pytest.fixture
def dataset(tmp_path):
    pairs = []
    for number in range(3):
        pair = Pair(id=f"p{number}", picture=tmp_path / f"{number}.png", label=tmp_path / f"{number}-label.png")
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(pair.picture)
        Image.fromarray(np.full((4, 6), number, np.uint8)).save(pair.label)
        pairs.append(pair)
    return PairDataset(pairs=pairs, classes=("a", "b", "c"), palette=((0, 0, 0),) * 3, read_label=ClassLabels(count=3))


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


def test_a_pair_without_a_label_is_ignored_everywhere(dataset):
    pair = dataclasses.replace(dataset.pairs[1], label=None)
    sample = dataset.read(pair)
    assert sample["image"].max() == 1
    np.testing.assert_array_equal(sample["label"], np.full((4, 6), 255))


def test_a_label_alone_needs_no_picture(dataset):
    dataset.pairs[1].picture.unlink()
    np.testing.assert_array_equal(dataset.label(1), np.full((4, 6), 1))
    np.testing.assert_array_equal(dataset.label(-1), np.full((4, 6), 2))


def test_a_missing_label_alone_is_ignored_everywhere(dataset):
    pairs = [dataclasses.replace(pair, label=None) for pair in dataset.pairs]
    np.testing.assert_array_equal(dataclasses.replace(dataset, pairs=pairs).label(0), np.full((4, 6), 255))


def listing(pictures, labels):
    return match(Names(Path("p"), pictures, stem), Names(Path("l"), labels, stem))


def test_names_are_paired_by_key_and_sorted_by_it():
    pairs = listing(["b.jpg", "a-b.jpg", "a.png"], ["a.png", "b.png", "a-b.png"]).pairs
    assert list(pairs) == pairs[:]
    assert [(pair.id, str(pair.picture), str(pair.label)) for pair in pairs] == [
        ("a", "p/a.png", "l/a.png"),
        ("a-b", "p/a-b.jpg", "l/a-b.png"),
        ("b", "p/b.jpg", "l/b.png"),
    ]


def test_all_files_that_are_alone_are_faults_and_the_others_stay():
    found = listing(["a.jpg", "b.jpg", "c.jpg", "e.jpg"], ["b.png", "d.png", "e.png", "f.png"])
    assert [pair.id for pair in found.pairs] == ["b", "e"]
    assert [str(pair.label) for pair in found.pairs] == ["l/b.png", "l/e.png"]
    assert [fault.split(";")[0] for fault in found.faults] == [
        "p/a.jpg: has no label of the same name in l",
        "p/c.jpg: has no label of the same name in l",
        "l/d.png: has no picture of the same name in p",
        "l/f.png: has no picture of the same name in p",
    ]


@pytest.mark.parametrize(("pictures", "labels"), [(["a.jpg", "a.png"], ["a.png"]), (["a.jpg"], ["a.png", "a.tif"])])
def test_a_second_file_of_the_same_name_is_a_fault(pictures, labels):
    found = listing(pictures, labels)
    assert len(found.pairs) == 1
    (fault,) = found.faults
    assert "another file has the same name but for its ending" in fault


def test_nothing_with_nothing_is_nothing():
    assert (len(listing([], []).pairs), listing([], []).faults) == (0, ())


def test_a_refusal_names_three_faults_and_counts_the_others():
    refuse(())
    with pytest.raises(DataError, match=r"^a b c and 2 more$"):
        refuse(tuple("abcde"))


@pytest.mark.parametrize(("name", "expected"), [("a.png", "a"), ("aachen/a.b.PNG", "a.b"), ("v1.0/a", "a")])
def test_the_stem_of_a_name_is_without_folders_and_the_last_ending(name, expected):
    assert stem(name) == expected
