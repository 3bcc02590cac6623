import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

RELEASE = "ADEChallengeData2016"


@pytest.fixture
def place(save, tmp_path):
    """Writes a picture and its label below ADEChallengeData2016, and returns that folder."""

    def place_pair(name, split="training", label=None, release=RELEASE):
        label = np.full((2, 3), 1, np.uint8) if label is None else label
        save(f"{release}/images/{split}/{name}.jpg", np.zeros((*label.shape, 3), np.uint8))
        save(f"{release}/annotations/{split}/{name}.png", label)
        return tmp_path / release

    return place_pair


def test_it_conforms_and_its_splits_have_the_usual_names(place):
    place("ADE_train_00000002")
    place("ADE_train_00000001")
    root = place("ADE_val_00000001", split="validation")
    train, val = (load("ade20k", split=split, root=root) for split in ("train", "val"))
    check_dataset(train)
    check_dataset(val)
    assert [sample["id"] for sample in train] == ["ADE_train_00000001", "ADE_train_00000002"]
    assert [sample["id"] for sample in val] == ["ADE_val_00000001"]


def test_the_root_may_be_the_folder_around_the_release(place):
    root = place("ADE_train_00000001")
    assert len(load("ade20k", split="train", root=root.parent)) == 1
    assert check("ade20k", {"root": root.parent}) == []


def test_label_0_is_ignored_and_1_to_150_are_the_classes(place):
    root = place("ADE_train_00000001", label=np.arange(151, dtype=np.uint8)[None])
    (row,) = load("ade20k", split="train", root=root)[0]["label"]
    assert row.tolist() == [255, *range(150)]


@pytest.mark.parametrize("value", [151, 255])
def test_labels_that_somebody_converted_are_refused(place, value):
    root = place("ADE_train_00000001", label=np.full((2, 3), value, np.uint8))
    with pytest.raises(DataError, match=rf"ADE_train_00000001\.png: label values {value} do not occur.*unconverted"):
        load("ade20k", split="train", root=root)[0]


@pytest.mark.parametrize(
    "place_of_masks",
    ["images/training/a/abbey", "images/ADE/training/urban/street", "ADE20K_2016_07_26/images/training/a"],
)
def test_the_full_release_is_told_apart_and_the_right_download_named(save, tmp_path, place_of_masks):
    save(f"{place_of_masks}/ADE_train_00000001.jpg", np.zeros((2, 3, 3), np.uint8))
    save(f"{place_of_masks}/ADE_train_00000001_seg.png", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"_seg\.png: this is the full ADE20K.*/ADEChallengeData2016\.zip"):
        load("ade20k", split="train", root=tmp_path)


def test_a_missing_partner_is_named(place):
    root = place("ADE_train_00000001")
    (root / "annotations/training/ADE_train_00000001.png").unlink()
    with pytest.raises(DataError, match=r"ADE_train_00000001\.jpg: has no label"):
        load("ade20k", split="train", root=root)


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "ade").mkdir()
    expected = r"root must hold images/\{training,validation\}/\*\.jpg, .* in ADEChallengeData2016/\)\. .*found ade/\."
    with pytest.raises(DataError, match=expected):
        load("ade20k", split="train", root=tmp_path)


def test_an_empty_split_is_named(place):
    root = place("ADE_train_00000001")
    for folder in ("images", "annotations"):
        (root / folder / "validation").mkdir()
    with pytest.raises(DataError, match="the split 'val' is empty"):
        load("ade20k", split="val", root=root)


def test_an_unknown_split_names_those_there_are(place):
    with pytest.raises(DataError, match=r"no split 'test'\. Known: train, val\."):
        load("ade20k", split="test", root=place("ADE_train_00000001"))
