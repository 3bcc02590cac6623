import json
import warnings

import numpy as np
import pytest
from pycocotools.coco import COCO

from ccnet_data.errors import DataError
from ccnet_data.layouts.coco import CATEGORIES, CLASSES, Coco, clipped_box
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

HEIGHT, WIDTH = 24, 32
CROWD = {"counts": [100, 30, 20, 40, HEIGHT * WIDTH - 190], "size": [HEIGHT, WIDTH]}


def annotation(number, image, category, **changes):
    left, top = number % 10, number % 7
    corners = [left, top, left + 9.5, top + 0.4, left + 12.3, top + 8.2, left + 3.1, top + 11.7]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, 12.3, 11.7],
        "segmentation": [corners],
        "area": 100.0,
        "iscrowd": 0,
        **changes,
    }


@pytest.fixture
def make(tmp_path, png):
    """Writes a small COCO: three pictures in each split, of which the last has no annotations."""

    def make_root(*entries, split="train", categories=None):
        names = [f"{number:012d}.jpg" for number in (9, 25, 30)]
        folder = tmp_path / f"{split}2017"
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            content = png(np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8), "JPEG")
            (folder / name).write_bytes(content)
        images = [
            {"id": int(name[:12]), "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 3}
            for name in reversed(names)
        ]
        content = {
            "info": {"description": "COCO 2017 Dataset"},
            "licenses": [{"id": 3, "name": "Attribution-NonCommercial-NoDerivs License"}],
            "images": images,
            "annotations": list(entries),
            "categories": categories
            or [{"supercategory": "any", "id": number, "name": name} for number, name in CATEGORIES.items()],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return make_root


@pytest.fixture
def root(make):
    return make(
        annotation(11, 9, 1),
        annotation(12, 25, 90),
        annotation(13, 9, 13),
        annotation(14, 9, 1, segmentation=CROWD, iscrowd=1),
    )


def test_it_conforms_and_is_sorted_by_name(root):
    dataset = load("coco", split="train", root=root)
    check_dataset(dataset)
    assert [sample["id"] for sample in dataset] == ["000000000009", "000000000025", "000000000030"]
    assert [round(sample["image"].mean()) for sample in dataset] == [0, 40, 80]
    assert dataset.task == "instances"


def test_there_are_80_classes_whose_ids_have_gaps():
    assert (len(CLASSES), len(set(CLASSES))) == (80, 80)
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert list(CATEGORIES) == [number for number in range(1, 91) if number not in gaps]
    named = {1: "person", 11: "fire hydrant", 13: "stop sign", 44: "bottle", 67: "dining table", 90: "toothbrush"}
    assert {number: CATEGORIES[number] for number in named} == named


def test_every_category_id_becomes_its_position(make):
    entries = [annotation(number, 9, number) for number in CATEGORIES]
    classes = load("coco", split="train", root=make(*entries))[0]["classes"]
    assert classes.dtype == np.int64
    assert [CLASSES[position] for position in classes] == list(CATEGORIES.values())
    assert classes.tolist() == list(range(80))


def test_masks_are_those_of_pycocotools(root, capsys):
    file = root / "annotations" / "instances_train2017.json"
    theirs = COCO(file)
    capsys.readouterr()
    sample = load("coco", split="train", root=root)[0]
    assert capsys.readouterr().out == ""
    for mask, entry in zip(sample["masks"], theirs.loadAnns(theirs.getAnnIds(imgIds=9)), strict=True):
        with warnings.catch_warnings(action="ignore"):
            expected = theirs.annToMask(entry)
        np.testing.assert_array_equal(mask, expected)
        assert mask.any()


def test_boxes_are_left_top_right_bottom_and_crowds_are_marked(root):
    sample = load("coco", split="train", root=root)[0]
    np.testing.assert_allclose(sample["boxes"][0], [1, 4, 13.3, 15.7], rtol=1e-6)
    assert sample["crowd"].tolist() == [False, False, True]
    assert sample["classes"].tolist() == [0, 11, 0]


def test_a_picture_without_objects_has_empty_arrays(root):
    sample = load("coco", split="train", root=root)[2]
    shapes = {key: sample[key].shape for key in ("boxes", "masks", "classes", "crowd")}
    assert shapes == {"boxes": (0, 4), "masks": (0, HEIGHT, WIDTH), "classes": (0,), "crowd": (0,)}


def test_pictures_without_an_object_can_be_dropped(make):
    root = make(annotation(11, 9, 1), annotation(14, 25, 1, segmentation=CROWD, iscrowd=1))
    assert len(load("coco", split="train", root=root)) == 3
    dropped = load("coco", split="train", root=root, empty="drop")
    assert [sample["id"] for sample in dropped] == ["000000000009"]


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([2, 3, 4, 5], [2, 3, 6, 8]),
        ([-3, -2, 10, 10], [0, 0, 7, 8]),
        ([20, 10, 40, 40], [20, 10, 32, 24]),
        ([40, 3, 4, 5], [32, 3, 32, 8]),
    ],
)
def test_boxes_are_cut_to_the_picture(box, clipped):
    assert clipped_box(box, (HEIGHT, WIDTH)).tolist() == clipped


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [3, 3, 0, 5]},
        {"bbox": [3, 3, 5, 0.0]},
        {"bbox": [3, 3, -5, 5]},
        {"bbox": [32, 3, 5, 5]},
        {"segmentation": [[3, 3, 8, 8]]},
    ],
)
def test_an_object_without_area_is_left_out(make, changes):
    root = make(annotation(11, 9, 1), annotation(12, 9, 2, **changes), annotation(13, 9, 3))
    sample = load("coco", split="train", root=root)[0]
    assert sample["classes"].tolist() == [0, 2]
    assert len(sample["masks"]) == 2


def test_only_the_splits_that_are_there_are_checked(make):
    root = make(annotation(11, 9, 1), split="val")
    assert check("coco", {"root": root}) == []
    assert len(load("coco", split="val", root=root)) == 3
    with pytest.raises(DataError, match=r"train2017: there is no such folder; root must hold annotations/"):
        load("coco", split="train", root=root)


def test_an_unknown_split_names_the_nearest(root):
    with pytest.raises(DataError, match=r"COCO 2017 instances has no split 'vall'\. Did you mean 'val'"):
        load("coco", split="vall", root=root)


def test_a_wrong_root_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        DataError, match=r"root must hold annotations/instances_\{train,val\}2017\.json, .* found pictures/"
    ):
        load("coco", split="train", root=tmp_path)


def test_an_empty_split_is_refused(root):
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "images": [], "annotations": []}), encoding="utf-8")
    with pytest.raises(DataError, match="the split 'train' is empty"):
        load("coco", split="train", root=root)


def test_a_picture_that_is_missing_is_named_and_the_others_stay(root):
    (root / "train2017" / "000000000025.jpg").unlink()
    with pytest.raises(DataError, match=r"000000000025\.jpg: there is no such picture, but .*train2017\.json lists it"):
        load("coco", split="train", root=root)
    dataset, faults = Coco(root=root).partial("train")
    assert [sample["id"] for sample in dataset] == ["000000000009", "000000000030"]
    assert len(faults) == 1


def test_a_damaged_annotation_stops_loading_with_its_id(make):
    root = make(annotation(11, 9, 1, bbox=None), annotation(12, 9, 12))
    with pytest.raises(DataError, match=r"train2017\.json: annotations 11 has no bbox.* annotations 12 has a category"):
        load("coco", split="train", root=root)


def test_other_categories_are_refused(make):
    root = make(annotation(11, 9, 91), categories=[{"id": 91, "name": "pallet"}])
    with pytest.raises(DataError, match=r"category 91, 'pallet', is none of the 80 of COCO; .* the dataset folder"):
        load("coco", split="train", root=root)
    dataset, _ = Coco(root=root).partial("train")
    with pytest.raises(DataError, match=r"train2017\.json: annotation 11 is of category 91, none of the 80 of COCO"):
        dataset[0]


def test_a_category_of_another_name_is_refused(make):
    root = make(annotation(11, 9, 1), categories=[{"id": 1, "name": "bicycle"}])
    with pytest.raises(DataError, match=r"category 1, 'bicycle', is none of the 80 of COCO"):
        load("coco", split="train", root=root)


def test_a_region_that_cannot_be_drawn_names_its_annotation(make):
    root = make(annotation(11, 25, 1, segmentation={"counts": [5, 5], "size": [HEIGHT, WIDTH]}))
    dataset = load("coco", split="train", root=root)
    dataset[0]
    with pytest.raises(DataError, match=r"train2017\.json: annotation 11 has a segmentation that cannot be drawn"):
        dataset[1]


def test_a_picture_of_another_size_than_was_annotated_is_refused(root, png):
    (root / "train2017" / "000000000009.jpg").write_bytes(png(np.zeros((WIDTH, HEIGHT, 3), np.uint8), "JPEG"))
    with pytest.raises(DataError, match=r"000000000009\.jpg: is 24x32 .* describes a picture of 32x24"):
        load("coco", split="train", root=root)[0]


def test_a_damaged_picture_can_be_replaced(root):
    (root / "train2017" / "000000000009.jpg").write_bytes(b"")
    dataset = load("coco", split="train", root=root, on_error="replace")
    sample = dataset[0]
    assert sample["id"] in {"000000000025", "000000000030"}
    assert "000000000009.jpg: the file is empty" in sample["replaces"]
    assert (dataset.task, dataset.replaced) == ("instances", 1)
    check_dataset(dataset)
