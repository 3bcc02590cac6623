import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.layouts.voc import CLASSES
from ccnet_data.registry import check, load, source_named
from ccnet_data.testing import check_dataset

HOME = "VOCdevkit/VOC2012"


@pytest.fixture
def voc(save, tmp_path):
    """The folder of a release: 2007_000001 for training, 2007_000002 added by SBD, 2007_000003 for validation."""
    home = tmp_path / HOME
    for number, (part, folder) in enumerate(
        [("train", "SegmentationClass"), ("aug", "SegmentationClassAug"), ("val", "SegmentationClass")], 1
    ):
        name = f"2007_{number:06d}"
        save(f"{HOME}/JPEGImages/{name}.jpg", np.zeros((2, 3, 3), np.uint8))
        save(f"{HOME}/{folder}/{name}.png", np.full((2, 3), number, np.uint8))
        lists = home / "ImageSets/Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text(f"{name}\n", encoding="utf-8")
    return home


def names(dataset):
    return [sample["id"] for sample in dataset]


def append(home, part, name):
    with (home / f"ImageSets/Segmentation/{part}.txt").open("a", encoding="utf-8") as stream:
        stream.write(f"{name}\n")


def test_it_conforms_and_train_is_the_lists_of_voc_and_sbd_together(voc):
    train, val = (load("voc12aug", split=split, root=voc) for split in ("train", "val"))
    check_dataset(train)
    check_dataset(val)
    assert names(train) == ["2007_000001", "2007_000002"]
    assert [sample["label"][0, 0] for sample in train] == [1, 2]
    assert names(val) == ["2007_000003"]


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_root_may_be_any_folder_on_the_way(voc, levels):
    root = [voc, *voc.parents][levels]
    assert len(load("voc12aug", split="train", root=root)) == 2


def test_a_picture_of_train_has_the_label_of_voc_though_sbd_has_one_too(voc, save):
    save(f"{HOME}/SegmentationClassAug/2007_000001.png", np.full((2, 3), 20, np.uint8))
    append(voc, "aug", "2007_000001")
    train = load("voc12aug", split="train", root=voc)
    assert names(train) == ["2007_000001", "2007_000002"]
    assert train[0]["label"].max() == 1


def test_palette_pngs_give_their_indices_and_255_is_ignored(voc):
    label = Image.fromarray(np.array([[0, 1, 20], [255, 15, 0]], np.uint8))
    label.putpalette([channel for _, colour in CLASSES for channel in colour])
    label.save(voc / "SegmentationClass/2007_000003.png")
    (sample,) = load("voc12aug", split="val", root=voc)
    assert sample["label"].tolist() == [[0, 1, 20], [255, 15, 0]]


def test_the_colours_are_those_of_the_vocdevkit():
    # VOClabelcolormap.m spreads bit k, k + 3, k + 6 of the class over the upper bits of red, green and blue.
    def colour(number):
        return tuple(sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))

    assert [known for _, known in CLASSES] == [colour(number) for number in range(21)]


def test_a_list_for_training_that_names_pictures_of_val_is_refused(voc, save):
    append(voc, "aug", "2007_000003")
    save(f"{HOME}/SegmentationClassAug/2007_000003.png", np.zeros((2, 3), np.uint8))
    with pytest.raises(DataError, match=r"aug\.txt: lists 2007_000003, which val\.txt lists too; `ccnet-data prepare"):
        load("voc12aug", split="train", root=voc)
    dataset, faults = source_named("voc12aug")(root=voc).partial("train")
    assert names(dataset) == ["2007_000001", "2007_000002"]
    assert len(faults) == 1


@pytest.mark.parametrize("gone", ["ImageSets/Segmentation/aug.txt", "SegmentationClassAug/2007_000002.png"])
def test_what_sbd_gives_is_made_by_prepare(voc, gone):
    (voc / gone).unlink()
    with pytest.raises(DataError, match=rf"{gone}: .*; `ccnet-data prepare voc12aug --root DIR --sbd"):
        load("voc12aug", split="train", root=voc)


def test_without_the_folder_of_sbd_labels_prepare_is_named(voc):
    (voc / "SegmentationClassAug/2007_000002.png").unlink()
    (voc / "SegmentationClassAug").rmdir()
    with pytest.raises(DataError, match="SegmentationClassAug: there is no such folder; `ccnet-data prepare"):
        load("voc12aug", split="train", root=voc)


def test_val_needs_nothing_of_sbd(voc):
    (voc / "ImageSets/Segmentation/aug.txt").unlink()
    assert check("voc12aug", {"root": voc}) == []
    assert len(load("voc12aug", split="val", root=voc)) == 1


def test_every_listed_file_that_is_missing_is_named(voc):
    (voc / "JPEGImages/2007_000001.jpg").unlink()
    (voc / "SegmentationClass/2007_000001.png").unlink()
    dataset, faults = source_named("voc12aug")(root=voc).partial("train")
    assert names(dataset) == ["2007_000002"]
    assert [fault.partition(" lists it")[0] for fault in faults] == [
        f"{voc}/JPEGImages/2007_000001.jpg: is not there, but ImageSets/Segmentation/train.txt",
        f"{voc}/SegmentationClass/2007_000001.png: is not there, but ImageSets/Segmentation/train.txt",
    ]


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        DataError, match=r"root must hold JPEGImages/\*\.jpg, .*VOCdevkit/VOC2012/\)\. .*found pictures/\."
    ):
        load("voc12aug", split="val", root=tmp_path)


def test_an_empty_list_is_named(voc):
    (voc / "ImageSets/Segmentation/val.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="the split 'val' is empty"):
        load("voc12aug", split="val", root=voc)


def test_a_list_that_is_no_text_names_what_it_lists(voc):
    (voc / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe2")
    with pytest.raises(DataError, match=r"is not there, but ImageSets/Segmentation/val\.txt lists it"):
        load("voc12aug", split="val", root=voc)


def test_an_unknown_split_names_the_nearest(voc):
    with pytest.raises(DataError, match=r"no split 'trainaug'\. Did you mean 'train'"):
        load("voc12aug", split="trainaug", root=voc)
