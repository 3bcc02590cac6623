import unicodedata

import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.folder import list_splits
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

CLASSES = ["one", "two", "three"]


def test_a_flat_folder_conforms_and_is_sorted_by_name(make_folder):
    dataset = load("folder", split="train", root=make_folder(["b", "a", "c"]), classes=CLASSES)
    check_dataset(dataset)
    assert [(sample["id"], sample["label"][0, 0]) for sample in dataset] == [("a", 1), ("b", 0), ("c", 2)]


def test_split_folders_are_separate_splits(make_folder):
    make_folder(["a", "b"], split="train")
    root = make_folder(["c"], split="val")
    assert list_splits(root) == ["train", "val"]
    assert [sample["id"] for sample in load("folder", split="train", root=root, classes=CLASSES)] == ["a", "b"]
    assert [sample["id"] for sample in load("folder", split="val", root=root, classes=CLASSES)] == ["c"]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".PNG"])
def test_pictures_may_have_other_formats_than_their_labels(make_folder, suffix):
    dataset = load("folder", split="train", root=make_folder(["a"], suffix=suffix), classes=CLASSES)
    assert dataset[0]["image"].shape == (3, 4, 6)


def test_names_may_be_in_any_script_and_either_unicode_form(make_folder):
    root = make_folder(["straße 1", "道路", "été"])
    composed = root / "labels" / f"{unicodedata.normalize('NFC', 'été')}.png"
    composed.rename(root / "labels" / f"{unicodedata.normalize('NFD', 'été')}.png")
    assert len(load("folder", split="train", root=root, classes=CLASSES)) == 3


def test_class_names_may_come_from_the_file(make_folder):
    root = make_folder(["a"])
    (root / "classes.txt").write_text("sky\nroad\n", encoding="utf-8")
    dataset = load("folder", split="train", root=root)
    assert dataset.classes == ("sky", "road")
    assert len(dataset.palette) == 2


def test_hidden_files_are_passed_over(make_folder):
    root = make_folder(["a"])
    (root / "images" / "._a.png").write_bytes(b"")
    (root / "images" / ".thumbnails").mkdir()
    assert len(load("folder", split="train", root=root, classes=CLASSES)) == 1


def test_a_root_without_the_folders_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"root must hold images/ and labels/\. In .*, found pictures/\."):
        load("folder", split="train", root=tmp_path, classes=CLASSES)


def test_a_root_that_does_not_exist_shows_its_nearest_parent(tmp_path):
    with pytest.raises(DataError, match=rf"no such folder.* In {tmp_path}, found nothing\."):
        load("folder", split="train", root=tmp_path / "wrong" / "place", classes=CLASSES)


def test_without_a_root_the_error_asks_for_it():
    assert "root is missing: give root=DIR with images/ and labels/ in it." in check("folder", {"classes": CLASSES})


def test_a_flat_folder_has_no_second_split(make_folder):
    with pytest.raises(DataError, match=r"no split 'val'\. Known: train\. Without sub-folders"):
        load("folder", split="val", root=make_folder(["a"]), classes=CLASSES)


def test_an_unknown_split_names_the_nearest(make_folder):
    make_folder(["a"], split="train")
    root = make_folder(["a"], split="val")
    with pytest.raises(DataError, match=r"no split 'trian'\. Did you mean 'train'\?"):
        load("folder", split="trian", root=root, classes=CLASSES)


def test_an_empty_split_says_what_is_there(make_folder):
    root = make_folder(["a"], split="train")
    (root / "images" / "val").mkdir()
    (root / "labels" / "val").mkdir()
    (root / "images" / "val" / "notes.txt").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"val: holds no pictures \(.*\.jpg.*\); found notes\.txt"):
        load("folder", split="val", root=root, classes=CLASSES)


def test_pictures_and_labels_without_a_partner_are_named(make_folder):
    root = make_folder(["a", "b", "c"])
    (root / "labels" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: has no label of the same name"):
        load("folder", split="train", root=root, classes=CLASSES)
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").unlink()
    with pytest.raises(DataError, match=r"labels/c\.png: has no picture of the same name"):
        load("folder", split="train", root=root, classes=CLASSES)


def test_two_pictures_of_one_name_are_refused(make_folder):
    root = make_folder(["a"])
    (root / "images" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"images/a\.(jpg|png): another file has the same name"):
        load("folder", split="train", root=root, classes=CLASSES)


def test_pictures_beside_split_folders_are_refused(make_folder):
    make_folder(["a"])
    root = make_folder(["b"], split="train")
    with pytest.raises(DataError, match="holds pictures beside the sub-folders train"):
        load("folder", split="train", root=root, classes=CLASSES)


def test_check_looks_at_every_split(make_folder):
    make_folder(["a"], split="train")
    root = make_folder(["b", "c"], split="val")
    options = {"root": root, "classes": CLASSES}
    assert check("folder", options) == []
    (root / "labels" / "val" / "b.png").unlink()
    (fault,) = check("folder", options)
    assert "b.png: has no label" in fault


def test_a_flat_folder_is_divided_by_a_fraction_without_overlap(make_folder):
    stems = [f"picture {number}" for number in range(12)]
    root = make_folder(stems)
    options = {"root": root, "classes": [str(number) for number in range(12)], "val_fraction": 0.3}
    assert check("folder", options) == []
    train, val = ([sample["id"] for sample in load("folder", split=split, **options)] for split in ("train", "val"))
    assert train
    assert val
    assert sorted(train + val) == sorted(stems)
    assert train == sorted(train)
    other = [sample["id"] for sample in load("folder", split="val", **options, seed=1)]
    assert other != val
    check_dataset(load("folder", split="val", **options))
    with pytest.raises(DataError, match=r"no split 'test'\. Known: train, val\.$"):
        load("folder", split="test", **options)


def test_a_fraction_that_leaves_a_split_empty_is_refused(make_folder):
    (fault, *_) = check("folder", {"root": make_folder(["a"]), "classes": CLASSES, "val_fraction": 0.5})
    assert "leaves no picture of 1 to" in fault


def test_a_fraction_of_split_folders_is_refused(make_folder):
    root = make_folder(["a", "b"], split="train")
    (fault,) = check("folder", {"root": root, "classes": CLASSES, "val_fraction": 0.5})
    assert "val_fraction divides a flat folder, but there are split folders (train)" in fault


def test_a_picture_without_a_label_is_a_fault_of_a_divided_folder_too(make_folder):
    root = make_folder(list("abcdefghijkl"))
    (root / "labels" / "a.png").unlink()
    (fault,) = check("folder", {"root": root, "classes": CLASSES, "val_fraction": 0.5})
    assert "a.png: has no label" in fault


@pytest.mark.parametrize(("polygons", "ending"), [(None, ".png"), ("labelme", ".json")])
def test_labels_of_another_kind_are_said_once(make_folder, polygons, ending):
    root = make_folder(["a", "b"])
    for label in (root / "labels").iterdir():
        label.rename(label.with_suffix(".jpg"))
    (fault,) = check("folder", {"root": root, "classes": CLASSES, "polygons": polygons})
    assert fault == f"{root / 'labels'}: holds no labels ({ending}); found a.jpg, b.jpg."


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"val_fraction": 1}, "val_fraction must be between 0 and 1"),
        ({"val_fraction": "0.2"}, "val_fraction must be a number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"polygons": "yolo"}, "polygons must be one of labelme, coco, got 'yolo'"),
    ],
)
def test_wrong_options_are_told(make_folder, option, message):
    (fault,) = check("folder", {"root": make_folder(["a"]), "classes": CLASSES, **option})
    assert fault.startswith(message)
