import json

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

CLASSES = ["background", "car", "road"]
CROWD = {"counts": [3, 1, 8, 36], "size": [6, 8]}


def annotation(number, image, category, segmentation):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}


def corners(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.fixture
def make(make_folder):
    """Writes pictures of 6 rows and 8 columns, and one annotation file for all of a split."""

    def make_root(*annotations, stems=("a", "b", "c"), split="", names="{}.jpg", categories=("road", "car")):
        root = make_folder(list(stems), split=split)
        for stem in stems:
            Image.new("RGB", (8, 6)).save(root / "images" / split / f"{stem}.png")
            (root / "labels" / split / f"{stem}.png").unlink()
        images = [
            {"id": number, "file_name": names.format(stem), "height": 6, "width": 8}
            for number, stem in enumerate(stems)
        ]
        content = {
            "images": images,
            "annotations": list(annotations),
            "categories": [{"id": 5 + number, "name": name} for number, name in enumerate(categories)],
        }
        (root / "labels" / split / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
        return root

    return make_root


def options(root, **more):
    return {"root": root, "classes": CLASSES, "polygons": "coco", **more}


@pytest.mark.parametrize("names", ["{}.jpg", "images/{}.png"])
def test_regions_are_drawn_in_the_order_of_the_file(make, names):
    road, car = [corners(1.2, 2.2, 6.5, 4.5)], [corners(0, 0, 2, 2), corners(5, 4, 7, 5), [3, 3, 4, 4]]
    root = make(annotation(1, 1, 5, road), annotation(2, 2, 5, CROWD), annotation(3, 1, 6, car), names=names)
    dataset = load("folder", split="train", **options(root))
    check_dataset(dataset)
    assert [sample["id"] for sample in dataset] == ["a", "b", "c"]
    expected = np.zeros((6, 8))
    expected[2:5, 1:7] = 2
    expected[0:3, 0:3] = expected[4:6, 5:8] = 1
    np.testing.assert_array_equal(dataset[1]["label"], expected)
    assert not dataset[0]["label"].any()
    runs = np.zeros(48)
    runs[3:4] = runs[12:] = 2
    np.testing.assert_array_equal(dataset[2]["label"], runs.reshape(8, 6).T)


def test_each_split_has_its_own_file(make):
    make(annotation(1, 0, 5, [corners(0, 0, 7, 5)]), stems=["a"], split="train")
    root = make(stems=["b"], split="val")
    assert check("folder", options(root)) == []
    assert [sample["label"].max() for sample in load("folder", split="train", **options(root))] == [2]
    assert [sample["label"].max() for sample in load("folder", split="val", **options(root))] == [0]


def test_a_flat_folder_can_be_divided(make):
    stems = [f"picture {number}" for number in range(12)]
    root = make(stems=stems)
    train, val = (load("folder", split=split, **options(root, val_fraction=0.4)) for split in ("train", "val"))
    assert sorted([sample["id"] for sample in train] + [sample["id"] for sample in val]) == sorted(stems)


def test_pictures_and_entries_without_a_partner_are_named(make):
    root = make()
    (root / "images" / "b.png").rename(root / "images" / "d.png")
    faults = " ".join(check("folder", options(root)))
    assert "annotations.json/b.jpg: has no picture of the same name" in faults
    assert "images/d.png: has no label of the same name in " in faults


def test_faults_of_the_annotations_are_named(make):
    root = make(annotation(4, 0, 5, None), annotation(5, 9, 5, CROWD))
    (fault,) = check("folder", options(root))
    assert "annotations 4 has no segmentation" in fault
    assert "annotations 5 belongs to a picture that is not listed, image_id 9" in fault


def test_a_folder_without_the_file_says_so(make):
    root = make()
    (root / "labels" / "annotations.json").unlink()
    (fault,) = check("folder", options(root))
    assert "labels/annotations.json: cannot be read" in fault


@pytest.mark.parametrize(
    ("category", "segmentation", "message"),
    [
        (5, [["x"] * 6], "annotation 4 has a segmentation that cannot be drawn"),
        (5, [corners(0, 0, 1e9, 5)], "coordinates far outside the picture of 8x6"),
        (5, {**CROWD, "counts": [3, 1]}, "annotation 4 has a segmentation that cannot be drawn"),
        (6, CROWD, "annotation 4 is of the class 'kar', which is none of classes. Did you mean 'car'"),
    ],
)
def test_a_region_that_cannot_be_drawn_names_its_annotation(make, category, segmentation, message):
    root = make(annotation(4, 1, category, segmentation), categories=("road", "kar"))
    dataset = load("folder", split="train", **options(root))
    dataset[0]
    with pytest.raises(DataError, match=rf"annotations\.json: .*{message}"):
        dataset[1]


def test_a_picture_of_another_size_than_was_annotated_is_refused(make):
    root = make()
    Image.new("RGB", (6, 8)).save(root / "images" / "a.png")
    with pytest.raises(DataError, match=r"a\.png and .*annotations\.json/a\.jpg: the picture is 6x8 .* label is 8x6"):
        load("folder", split="train", **options(root))[0]
