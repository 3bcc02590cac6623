import pickle

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

PICTURE = np.zeros((6, 8, 3), np.uint8)
# Label ids in the order of the classes, as cityscapesScripts has them.
EVALUATED = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


@pytest.fixture
def place(save):
    """Writes a picture, and a label with `value` everywhere unless it is None; returns the root."""

    def place_pair(name, split="train", value=7, kind="labelIds"):
        city = name.partition("_")[0]
        picture = save(f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", PICTURE)
        if value is not None:
            save(f"gtFine/{split}/{city}/{name}_gtFine_{kind}.png", np.full((6, 8), value, np.uint8))
        return picture.parents[3]

    return place_pair


def test_it_conforms_and_is_sorted_over_the_cities(place):
    place("zurich_000001_000019")
    place("aachen_000002_000019")
    dataset = load("cityscapes", split="train", root=place("aachen_000000_000019"))
    check_dataset(dataset)
    assert [sample["id"] for sample in dataset] == [
        "aachen_000000_000019",
        "aachen_000002_000019",
        "zurich_000001_000019",
    ]


def test_each_label_id_becomes_its_class_or_is_ignored(place, save):
    root = place("aachen_000000_000019")
    ids = np.array([[*range(34), 255]], np.uint8)
    save("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png", np.zeros((1, 35, 3), np.uint8))
    save("gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png", ids)
    (row,) = load("cityscapes", split="train", root=root)[0]["label"]
    expected = [EVALUATED.index(number) if number in EVALUATED else 255 for number in ids[0]]
    assert row.tolist() == expected


def test_an_id_that_cityscapes_has_not_is_refused(place):
    dataset = load("cityscapes", split="train", root=place("aachen_000000_000019", value=34))
    with pytest.raises(DataError, match=r"_labelIds\.png: label values 34 do not occur in this dataset"):
        dataset[0]


def test_train_ids_are_read_as_classes_where_every_picture_has_them(place):
    place("aachen_000000_000019", value=7)
    place("bochum_000000_000019", value=8)
    place("aachen_000000_000019", value=18, kind="labelTrainIds")
    root = place("bochum_000000_000019", value=255, kind="labelTrainIds")
    dataset = load("cityscapes", split="train", root=root)
    assert [sample["label"][0, 0] for sample in dataset] == [18, 255]
    assert [pair.label.name.split("_")[-1] for pair in dataset.pairs] == ["labelTrainIds.png"] * 2


def test_label_ids_are_read_where_only_some_pictures_have_train_ids(place):
    place("aachen_000000_000019", value=7)
    place("aachen_000000_000019", value=18, kind="labelTrainIds")
    dataset = load("cityscapes", split="train", root=place("bochum_000000_000019", value=8))
    assert [sample["label"][0, 0] for sample in dataset] == [0, 1]


def test_a_wrong_train_id_is_refused(place):
    root = place("aachen_000000_000019", value=19, kind="labelTrainIds")
    with pytest.raises(DataError, match="label values 19 are outside the 19 classes"):
        load("cityscapes", split="train", root=root)[0]


def test_the_other_files_of_gtfine_are_passed_over(place, save):
    root = place("aachen_000000_000019")
    for kind in ("color", "instanceIds"):
        save(f"gtFine/train/aachen/aachen_000000_000019_gtFine_{kind}.png", PICTURE)
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_polygons.json").write_text("{}", encoding="utf-8")
    assert len(load("cityscapes", split="train", root=root)) == 1


def test_the_test_split_has_no_labels_whether_dummies_are_there_or_not(place):
    place("berlin_000000_000019", split="test", value=None)
    root = place("bonn_000000_000019", split="test", value=7)
    dataset = load("cityscapes", split="test", root=root)
    check_dataset(dataset)
    assert [(sample["id"], sample["label"].min()) for sample in dataset] == [
        ("berlin_000000_000019", 255),
        ("bonn_000000_000019", 255),
    ]


def test_a_picture_without_a_label_and_a_label_without_a_picture_are_named(place):
    root = place("aachen_000000_000019", value=None)
    place("aachen_000001_000019")
    place("aachen_000002_000019")
    (root / "leftImg8bit/train/aachen/aachen_000002_000019_leftImg8bit.png").unlink()
    alone = (
        r"aachen_000000_000019_leftImg8bit\.png: has no label .*aachen_000002_000019_gtFine_labelIds\.png: has no pic"
    )
    with pytest.raises(DataError, match=alone):
        load("cityscapes", split="train", root=root)


def test_a_city_without_its_folder_of_labels_is_named(place):
    place("aachen_000000_000019")
    root = place("ulm_000000_000019", value=None)
    (fault,) = check("cityscapes", {"root": root})
    assert "train/ulm/ulm_000000_000019_leftImg8bit.png: has no label" in fault


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    expected = r"root must hold leftImg8bit/\{train,val,test\}/CITY/\*_leftImg8bit\.png, gtFine/.*found pictures/\."
    with pytest.raises(DataError, match=expected):
        load("cityscapes", split="train", root=tmp_path)
    assert "found pictures/." in check("cityscapes", {"root": tmp_path})[0]


def test_a_root_without_gtfine_is_named(place):
    with pytest.raises(DataError, match=r"gtFine/train: there is no such folder; .*found leftImg8bit/\."):
        load("cityscapes", split="train", root=place("aachen_000000_000019", value=None))


def test_an_empty_split_is_named(place):
    root = place("aachen_000000_000019")
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder / "val" / "munster").mkdir(parents=True)
    with pytest.raises(DataError, match="the split 'val' is empty; root must hold leftImg8bit"):
        load("cityscapes", split="val", root=root)


def test_an_unknown_split_names_the_nearest(place):
    with pytest.raises(DataError, match=r"no split 'training'\. Did you mean 'train'"):
        load("cityscapes", split="training", root=place("aachen_000000_000019"))


def test_a_dataset_travels_to_another_process(place):
    dataset = load("cityscapes", split="train", root=place("aachen_000000_000019", value=33))
    assert pickle.loads(pickle.dumps(dataset))[0]["label"].max() == 18
