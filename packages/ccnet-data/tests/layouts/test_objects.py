import warnings

import numpy as np
import pytest
from pycocotools.coco import COCO

from ccnet_data.errors import DataError
from ccnet_data.layouts.categories import CATEGORIES, CLASSES
from ccnet_data.layouts.coco import Coco
from ccnet_data.layouts.objects import clipped_box
from ccnet_data.registry import load
from ccnet_data.testing import check_dataset


@pytest.fixture
def root(make_coco, coco):
    return make_coco(
        coco.annotation(11, 9, 1),
        coco.annotation(12, 25, 90),
        coco.annotation(13, 9, 13),
        coco.annotation(14, 9, 1, segmentation=coco.crowd, iscrowd=1),
    )


def test_it_conforms_and_is_sorted_by_name(root):
    dataset = load("coco", split="train", root=root)
    check_dataset(dataset)
    assert [sample["id"] for sample in dataset] == ["000000000009", "000000000025", "000000000030"]
    assert [round(sample["image"].mean()) for sample in dataset] == [0, 40, 80]
    assert dataset.task == "instances"


def test_every_category_id_becomes_its_position(make_coco, coco):
    entries = [coco.annotation(number, 9, number) for number in CATEGORIES]
    classes = load("coco", split="train", root=make_coco(*entries))[0]["classes"]
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


def test_areas_are_those_of_the_file_or_of_the_masks(make_coco, coco):
    without = coco.annotation(12, 9, 1)
    del without["area"]
    sample = load("coco", split="train", root=make_coco(coco.annotation(11, 9, 1, area=702.1057), without))[0]
    assert sample["areas"].dtype == np.float64
    assert sample["areas"].tolist() == [702.1057, sample["masks"][1].sum()]


def test_a_picture_without_objects_has_empty_arrays(root, coco):
    sample = load("coco", split="train", root=root)[2]
    shapes = {key: sample[key].shape for key in ("boxes", "masks", "classes", "crowd", "areas")}
    assert shapes == {
        "boxes": (0, 4),
        "masks": (0, coco.height, coco.width),
        "classes": (0,),
        "crowd": (0,),
        "areas": (0,),
    }


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([2, 3, 4, 5], [2, 3, 6, 8]),
        ([-3, -2, 10, 10], [0, 0, 7, 8]),
        ([20, 10, 40, 40], [20, 10, 32, 24]),
        ([40, 3, 4, 5], [32, 3, 32, 8]),
        ([1e308, 0, 1e308, 5], [32, 0, 32, 5]),
    ],
)
def test_boxes_are_cut_to_the_picture(box, clipped, coco):
    assert clipped_box(box, (coco.height, coco.width)).tolist() == clipped


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [3, 3, 0, 5]},
        {"bbox": [3, 3, 5, 0.0]},
        {"bbox": [3, 3, -5, 5]},
        {"bbox": [32, 3, 5, 5]},
        {"bbox": [3, -8, 5, 5]},
        {"segmentation": [[3, 3, 8, 8]]},
    ],
)
def test_an_object_without_area_is_left_out(make_coco, coco, changes):
    root = make_coco(coco.annotation(11, 9, 1), coco.annotation(12, 9, 2, **changes), coco.annotation(13, 9, 3))
    sample = load("coco", split="train", root=root)[0]
    assert sample["classes"].tolist() == [0, 2]
    assert len(sample["masks"]) == 2


def test_a_category_without_a_class_names_its_annotation(make_coco, coco):
    root = make_coco(coco.annotation(11, 9, 91), categories=[{"id": 91, "name": "pallet"}])
    dataset, _ = Coco(root=root).partial("train")
    with pytest.raises(DataError, match=r"train2017\.json: annotation 11 is of category 91, 'pallet', none of the cla"):
        dataset[0]


@pytest.mark.parametrize(
    "region",
    [
        {"counts": [5, 5], "size": [24, 32]},
        {"counts": "00000", "size": [24, 32]},
        {"counts": [24 * 32, -1, 1], "size": [24, 32]},
        [[1, 1, 5, float("nan"), 5, 5]],
        [[1, 1, 5, "x", 5, 5]],
        [[1, 1, 1e9, 1, 5, 5]],
    ],
)
def test_a_region_that_cannot_be_drawn_names_its_annotation(make_coco, coco, region):
    dataset = load("coco", split="train", root=make_coco(coco.annotation(11, 25, 1, segmentation=region)))
    dataset[0]
    with pytest.raises(DataError, match=r"train2017\.json: annotation 11 has a segmentation that cannot be drawn"):
        dataset[1]


def test_a_picture_of_another_size_than_was_annotated_is_refused(root, png, coco):
    picture = np.zeros((coco.width, coco.height, 3), np.uint8)
    (root / "train2017" / "000000000009.jpg").write_bytes(png(picture, "JPEG"))
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
