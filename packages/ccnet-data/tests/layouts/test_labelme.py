import base64
import json

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.labelme import LabelmeLabels
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset

CLASSES = ("road", "car")


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "group_id": None, "flags": {}, "shape_type": kind, **more}


def draw(*shapes, classes=CLASSES, **changes):
    content = {"version": "5.5.0", "imagePath": "a.jpg", "imageData": None, "imageHeight": 6, "imageWidth": 8}
    return LabelmeLabels(classes=classes)(json.dumps({**content, "shapes": shapes, **changes}).encode(), "a.json")


def box(top, bottom, left, right, value=0, empty=255):
    label = np.full((6, 8), empty)
    label[top:bottom, left:right] = value
    return label


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ([[1.5, 2.2], [4.7, 2.2], [4.7, 4.9], [1.5, 4.9]], "polygon"),
        ([[1.5, 2.2], [4.7, 2.2], [4.7, 4.9], [1.5, 4.9]], None),
        ([[1.5, 2.2], [4.7, 2.2], [4.7, 4.9], [1.5, 4.9]], "oriented_rectangle"),
        ([[1.5, 2.2], [4.7, 2.2], [4.7, 4.9], [1.5, 4.9]], "rectangle"),
        ([[1.5, 2.2], [4.7, 4.9]], "rectangle"),
        ([[4.7, 2.2], [1.5, 4.9]], "rectangle"),
    ],
)
def test_polygons_and_rectangles_are_filled(points, kind):
    np.testing.assert_array_equal(draw(shape("car", points, kind)), box(2, 5, 1, 5, value=1))


def test_a_circle_is_its_centre_and_a_point_of_its_rim():
    label = draw(shape("road", [[20.5, 20.5], [20.5, 28.5]], "circle"), imageHeight=40, imageWidth=40)
    rows, columns = np.mgrid[:40, :40]
    distance = np.hypot(rows - 20.5, columns - 20.5)
    assert (label[distance < 7.5] == 0).all()
    assert (label[distance > 8.9] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_a_mask_lies_where_its_first_point_is(png, dtype):
    inside = np.array([[1, 0, 1], [1, 1, 1]], dtype)
    mask = base64.b64encode(png(inside)).decode()
    label = draw(shape("car", [[2, 3], [4, 4]], "mask", mask=mask))
    expected = box(0, 0, 0, 0)
    expected[3:5, 2:5] = np.where(inside, 1, 255)
    np.testing.assert_array_equal(label, expected)


def test_later_shapes_cover_earlier_ones():
    label = draw(shape("car", [[0, 0], [7, 5]], "rectangle"), shape("road", [[1, 2], [3, 4]], "rectangle"))
    np.testing.assert_array_equal(label, box(2, 5, 1, 4, value=0, empty=1))


def test_a_background_class_takes_the_rest():
    label = draw(shape("car", [[1, 2], [3, 4]], "rectangle"), classes=("background", "car"))
    np.testing.assert_array_equal(label, box(2, 5, 1, 4, value=1, empty=0))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (shape("truck", [[0, 0], [1, 1]], "rectangle"), "shape 1 is of the class 'truck', which is none of classes"),
        (shape("car", [[0, 0], [1, 1]], "line"), "shape 1 is a line, which has no area"),
        (shape("car", [[0, 0], [1, 1]]), r"shape 1 has points that cannot be drawn \(a polygon of 2 points"),
        (shape("car", [[0, 0]], "rectangle"), "shape 1 has points that cannot be drawn"),
        (shape("car", None), "shape 1 has points that cannot be drawn"),
        (shape("car", [[0, 0], ["x", 1], [2, 2]]), "shape 1 has points that cannot be drawn"),
        (shape("car", [[0, 0], [1e9, 1], [2, 2]]), r"shape 1 has points .*coordinates far outside the picture of 8x6"),
        (shape("car", [[0, 0], [1, 1]], "mask"), "shape 1: the file is empty"),
        (shape("car", [[0, 0], [1, 1]], "mask", mask="ä"), "shape 1 has points that cannot be drawn"),
        (shape("car", [[0, 0], [1, 1]], "mask", mask="AAAA"), "shape 1: not a readable picture"),
        ("car", "shape 1 is no object"),
    ],
)
def test_a_damaged_shape_is_named(bad, message):
    with pytest.raises(DataError, match=rf"^a\.json: {message}"):
        draw(shape("road", [[0, 0], [2, 2]], "rectangle"), bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shapes": None}, "no labelme file, for it has no list of shapes"),
        ({"imageHeight": None}, "imageHeight and imageWidth must say"),
        ({"imageWidth": 8.0}, "imageHeight and imageWidth must say"),
        ({"imageWidth": 2**40}, "is too large"),
    ],
)
def test_a_damaged_file_is_named(changes, message):
    with pytest.raises(DataError, match=rf"^a\.json: .*{message}"):
        draw(**changes)


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff\xfe", b'{"shapes": [', b"[" * 100_000])
def test_another_file_is_refused(content):
    with pytest.raises(DataError, match=r"^a\.json: no(t readable JSON| labelme file)"):
        LabelmeLabels(classes=CLASSES)(content, "a.json")


def test_a_folder_of_labelme_files_conforms(make_folder):
    root = make_folder(["a", "b", "c", "d", "e", "f"])
    for number, file in enumerate(sorted((root / "labels").iterdir())):
        shapes = [shape("car", [[0, 0], [number, 1]], "rectangle")]
        content = {"imageHeight": 4, "imageWidth": 6, "shapes": shapes}
        file.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
        file.unlink()
    options = {"root": root, "classes": ["car"], "polygons": "labelme"}
    dataset = load("folder", split="train", **options)
    check_dataset(dataset)
    assert [int((sample["label"] == 0).sum()) for sample in dataset] == [2, 4, 6, 8, 10, 12]
    (root / "labels" / "c.json").unlink()
    (fault,) = check("folder", options)
    assert "c.png: has no label of the same name" in fault
