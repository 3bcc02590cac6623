import json
import pickle
import tracemalloc

import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts import annotations, json_pieces
from ccnet_data.layouts.annotations import read_annotations

TRIANGLE = [[1, 1, 5, 1, 5, 5]]


def picture(number, name, **changes):
    return {"id": number, "file_name": name, "height": 8, "width": 10, **changes}


def annotation(number, image, **changes):
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [1, 1, 4, 4],
        "segmentation": TRIANGLE,
        "iscrowd": 0,
        **changes,
    }


PICTURES = (picture(7, "b.jpg"), picture(3, "a.jpg"))


@pytest.fixture
def write(tmp_path):
    def write_file(*entries, pictures=PICTURES, order=None, **more):
        content = {
            "info": {"year": 2017},
            "images": list(pictures),
            "annotations": list(entries),
            "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
            **more,
        }
        file = tmp_path / "instances.json"
        file.write_text(json.dumps({key: content[key] for key in order or content}), encoding="utf-8")
        return file

    return write_file


def ids(index, number):
    return [entry["id"] for entry in index.annotations(number)]


@pytest.mark.parametrize(
    "order", [None, ["annotations", "images", "categories"], ["categories", "annotations", "images"]]
)
def test_the_annotations_of_a_picture_come_in_the_order_of_the_file(write, order):
    file = write(annotation(5, 7), annotation(9, 3), annotation(2, 7), annotation(4, 3, iscrowd=1), order=order)
    index = read_annotations(file, boxes=True)
    assert list(index.names) == ["a.jpg", "b.jpg"]
    assert (ids(index, 0), ids(index, 1)) == ([9, 4], [5, 2])
    assert (index.objects.tolist(), index.faults) == ([1, 2], ())
    assert index.categories == {1: "person", 90: "toothbrush"}
    assert index.annotations(0)[0] == annotation(9, 3)


def test_pictures_are_found_by_name_and_may_have_no_annotations(write):
    index = read_annotations(write(annotation(5, 7)), boxes=True)
    assert [index.find(name) for name in ("a.jpg", "b.jpg", "a", "c.jpg")] == [0, 1, None, None]
    assert (index.annotations(0), index.sizes.tolist()) == ([], [[8, 10], [8, 10]])


def test_the_index_has_an_example_of_each_category_that_occurs(write):
    index = read_annotations(write(annotation(5, 7), annotation(9, 3, category_id=90), annotation(2, 7)), boxes=True)
    assert index.examples == {1: 5, 90: 9}


def test_an_index_without_entries_is_empty(write):
    index = read_annotations(write(pictures=()), boxes=True)
    assert (len(index.names), index.faults, index.find("a.jpg")) == (0, (), None)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("text", "annotations entry 1 has no id"),
        ({"image_id": 7}, "annotations entry 1 has no id"),
        (annotation("x", 7), "annotations 'x' has no id, a whole number"),
        (annotation(2.0, 7), "annotations 2.0 has no id"),
        (annotation(2, None), "annotations 2 has no image_id and category_id"),
        (annotation(2, 7, category_id=None), "annotations 2 has no image_id and category_id"),
        (annotation(2, 8), "annotations 2 belongs to a picture that is not listed, image_id 8"),
        (annotation(2, 7, category_id=91), "annotations 2 has a category that is not listed, category_id 91"),
        (annotation(1, 7), "annotations 1 comes twice"),
        (annotation(2, 7, iscrowd=2), "annotations 2 has an iscrowd that is neither 0 nor 1"),
        (annotation(2, 7, bbox=None), "annotations 2 has no bbox of four numbers"),
        (annotation(2, 7, bbox=[1, 2, 3]), "annotations 2 has no bbox of four numbers"),
        (annotation(2, 7, bbox=[1, 2, 3, float("nan")]), "annotations 2 has no bbox of four numbers"),
        (annotation(2, 7, segmentation=[]), "annotations 2 has no segmentation"),
        (annotation(2, 7, segmentation=None), "annotations 2 has no segmentation"),
        (annotation(2, 7, area=None), "annotations 2 has an area that is no number from 0 on"),
        (annotation(2, 7, area=-1), "annotations 2 has an area that is no number from 0 on"),
        (annotation(2, 7, area=10**400), "annotations 2 has an area that is no number from 0 on"),
        (annotation(2, 7, area=float("inf")), "annotations 2 has an area that is no number from 0 on"),
        (
            annotation(2, 7, segmentation={"counts": [80], "size": [10, 8]}),
            "annotations 2 has run lengths for another picture size, 10x8",
        ),
    ],
)
def test_a_damaged_annotation_is_a_fault_and_the_others_stay(write, entry, fault):
    file = write(annotation(1, 7), entry, annotation(3, 7))
    index = read_annotations(file, boxes=True)
    assert ids(index, 1) == [1, 3]
    (text,) = index.faults
    assert text.startswith(f"{file}: {fault}")
    assert text.endswith("; mend or remove it.")


def test_where_no_boxes_are_needed_none_is_missed(write):
    entry = annotation(1, 7)
    del entry["bbox"], entry["iscrowd"]
    assert ids(read_annotations(write(entry), boxes=False), 1) == [1]


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (picture(7, "c.jpg"), "images 7 comes twice"),
        (picture(8, "b.jpg"), "images 8 has the file_name of another one, b.jpg"),
        (picture(8, ""), "images 8 has no file_name"),
        (picture(8, "c.jpg", height=0), "images 8 has no height and width"),
        (picture(8, "c.jpg", width=None), "images 8 has no height and width"),
    ],
)
def test_a_damaged_picture_is_a_fault_and_the_others_stay(write, other, fault):
    index = read_annotations(write(pictures=[picture(7, "b.jpg"), other]), boxes=True)
    assert list(index.names) == ["b.jpg"]
    (text,) = index.faults
    assert fault in text


def test_categories_without_a_name_or_twice_are_faults(write):
    categories = [{"id": 1, "name": "person"}, {"id": 1, "name": "bicycle"}, {"id": 2}]
    index = read_annotations(write(categories=categories), boxes=True)
    assert index.categories == {1: "person"}
    assert [fault.split(": ")[1] for fault in index.faults] == [
        "categories 1 comes twice; mend or remove it.",
        "categories 2 has no name; mend or remove it.",
    ]


def test_another_json_file_is_refused(write, tmp_path):
    with pytest.raises(DataError, match=r"no COCO annotation file, for it has no list of annotations, categories"):
        read_annotations(write(order=["info", "images"]), boxes=True)
    with pytest.raises(DataError, match=r"none\.json: cannot be read \(No such file"):
        read_annotations(tmp_path / "none.json", boxes=True)


@pytest.mark.parametrize("value", ["none", 3, {"1": {}}])
def test_annotations_that_are_no_list_are_refused(write, value):
    with pytest.raises(DataError, match=r"instances\.json: .* it has no list of annotations; export it again\."):
        read_annotations(write(annotations=value), boxes=True)


def test_names_may_be_in_any_script(write):
    index = read_annotations(write(annotation(1, 1), pictures=[picture(1, "straße 道.jpg")]), boxes=True)
    assert (index.find("straße 道.jpg"), ids(index, 0)) == (0, [1])


def test_a_file_is_walked_once_while_it_stays_the_same(write, monkeypatch):
    file = write(annotation(1, 7))
    first = read_annotations(file, boxes=True)
    with monkeypatch.context() as context:
        context.setattr(annotations, "pieces", None)
        assert read_annotations(file, boxes=True) is first
    write(annotation(1, 7), annotation(2, 7))
    assert ids(read_annotations(file, boxes=True), 1) == [1, 2]


def test_a_file_that_was_changed_since_is_named(write):
    file = write(annotation(1, 7), annotation(2, 7))
    index = read_annotations(file, boxes=True)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"instances\.json: has changed since it was opened .*; open it again"):
        index.annotations(1)
    file.unlink()
    with pytest.raises(DataError, match="has changed since it was opened"):
        index.annotations(1)


def test_the_index_travels_to_other_processes(write):
    index = read_annotations(write(annotation(1, 7)), boxes=True)
    assert ids(pickle.loads(pickle.dumps(index)), 1) == [1]


def test_the_index_keeps_a_fraction_of_the_file(write):
    pictures = [picture(number, f"{number:012d}.jpg") for number in range(500)]
    outline = [[round(number * 0.37, 2) for number in range(60)]]
    file = write(*(annotation(number, number % 500, segmentation=outline) for number in range(4000)), pictures=pictures)
    tracemalloc.start()
    try:
        index = read_annotations(file, boxes=True)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index.spans) == 4000
    assert kept < 0.1 * file.stat().st_size
    assert peak - kept < 6 * json_pieces._WINDOW
