import pickle

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset, check_sample

pytestmark = pytest.mark.usefixtures("arrow_cache")

CLASSES = ["one", "two", "three"]


@pytest.fixture
def write(tmp_path, png):
    """Writes a parquet file with a picture and a label column, and whatever columns are given on top."""

    def write_file(name="train.parquet", count=3, image="image", label="label", extra=None):
        import datasets

        content = {
            image: [{"bytes": png(np.full((4, 6, 3), number, np.uint8)), "path": None} for number in range(count)],
            label: [{"bytes": png(np.full((4, 6), number, np.uint8)), "path": None} for number in range(count)],
        }
        features = datasets.Features({image: datasets.Image(), label: datasets.Image()})
        rows = datasets.Dataset.from_dict(content, features=features)
        for column, values in (extra or {}).items():
            rows = rows.add_column(column, values)
        rows.to_parquet(tmp_path / name)
        return tmp_path / name

    return write_file


def test_a_file_conforms(write):
    dataset = load("parquet", split="train", files=str(write()), classes=CLASSES)
    check_dataset(dataset)
    assert [sample["image"].max() for sample in dataset] == [0, 1, 2]


def test_several_files_are_read_in_their_order(write):
    files = [write("b.parquet", count=1), write("a.parquet", count=3)]
    dataset = load("parquet", split="train", files=files, classes=CLASSES)
    assert [sample["label"].max() for sample in dataset] == [0, 0, 1, 2]


def test_a_root_has_a_file_per_split(write, tmp_path):
    write("train.parquet", count=3)
    write("val.parquet", count=2)
    assert len(load("parquet", split="train", root=tmp_path, classes=CLASSES)) == 3
    assert len(load("parquet", split="val", root=tmp_path, classes=CLASSES)) == 2
    with pytest.raises(DataError, match=r"there is no vall\.parquet for the split 'vall'\. Did you mean 'val'"):
        load("parquet", split="vall", root=tmp_path, classes=CLASSES)


def test_a_file_that_was_written_again_is_read_again(write):
    assert len(load("parquet", split="train", files=write(count=3), classes=CLASSES)) == 3
    assert len(load("parquet", split="train", files=write(count=1), classes=CLASSES)) == 1


def test_the_cache_is_where_the_user_wants_it(write, arrow_cache):
    load("parquet", split="train", files=write(), classes=CLASSES)
    assert list(arrow_cache.rglob("*.arrow"))


@pytest.mark.parametrize(
    ("image", "label"), [("pixel_values", "annotation"), ("img", "mask"), ("image", "segmentation")]
)
def test_usual_column_names_are_found(write, image, label):
    dataset = load("parquet", split="train", files=write(image=image, label=label), classes=CLASSES)
    assert dataset[2]["label"].max() == 2


def test_a_column_of_numbers_called_label_is_passed_over(write):
    file = write(label="mask", extra={"label": [7, 8, 9]})
    assert load("parquet", split="train", files=file, classes=CLASSES)[2]["label"].max() == 2


def test_other_columns_are_read_when_named(write):
    dataset = load(
        "parquet",
        split="train",
        files=write(image="left", label="truth"),
        classes=CLASSES,
        image_column="left",
        label_column="truth",
    )
    assert dataset[1]["image"].max() == 1


def test_ids_come_from_a_column_or_the_row_number(write):
    named = load(
        "parquet", split="train", files=write("a.parquet", extra={"file_name": ["x", "y", "z"]}), classes=CLASSES
    )
    numbered = load("parquet", split="train", files=write("b.parquet"), classes=CLASSES)
    assert [sample["id"] for sample in named] == ["x", "y", "z"]
    assert [sample["id"] for sample in numbered] == ["000000", "000001", "000002"]


def test_the_dataset_travels_to_other_processes(write):
    dataset = load("parquet", split="train", files=write(), classes=CLASSES)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[1]["image"], dataset[1]["image"])


def test_columns_that_hold_no_pictures_are_told_with_those_that_do(write):
    file = write(image="left", label="truth")
    with pytest.raises(DataError, match=r"give image_column=NAME. Columns with pictures: left, truth"):
        load("parquet", split="train", files=file, classes=CLASSES)


def test_a_wrong_column_name_gets_the_nearest(write):
    with pytest.raises(DataError, match=r"label_column='labell' is no column\. Did you mean 'label'\?"):
        load("parquet", split="train", files=write(), classes=CLASSES, label_column="labell")


def test_a_column_without_pictures_is_refused(write):
    with pytest.raises(DataError, match=r"column 'place' holds no pictures\. Those that do: image, label\."):
        load("parquet", split="train", files=write(extra={"place": list("abc")}), classes=CLASSES, label_column="place")


def test_a_fault_in_a_row_names_file_row_and_column(write):
    dataset = load("parquet", split="train", files=write(), classes=CLASSES[:2])
    dataset[1]
    with pytest.raises(DataError, match=r"train\.parquet, row 2, column 'label': label values 2 are outside"):
        dataset[2]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + bytes(50), b"text\n" * 20, b"PAR1" + b"\xff" * 8 + b"PAR1"]
)
def test_a_file_that_is_not_whole_is_refused_before_any_work(tmp_path, arrow_cache, content):
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet: not a whole parquet file \(\d+ bytes\)"):
        load("parquet", split="train", root=tmp_path, classes=CLASSES)
    assert not arrow_cache.exists()


def test_a_truncated_file_is_refused(write):
    file = write()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole parquet file"):
        load("parquet", split="train", files=file, classes=CLASSES)


def test_check_looks_at_every_split(write, tmp_path):
    write("train.parquet")
    assert check("parquet", {"root": tmp_path, "classes": CLASSES}) == []
    (tmp_path / "val.parquet").write_bytes(b"")
    (fault,) = check("parquet", {"root": tmp_path, "classes": CLASSES})
    assert "val.parquet: not a whole parquet file" in fault


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "root is missing: give root=DIR with train.parquet"),
        ({"root": "none"}, "none: there is no such folder"),
        ({"root": ".", "files": "a.parquet"}, "Give either root=DIR or files=FILE, not both"),
        ({"files": "none.parquet"}, "none.parquet: cannot be read (No such file"),
        ({"files": []}, "files must be one value or a list of them, got []"),
    ],
)
def test_wrong_places_are_told(options, message):
    assert any(message in fault for fault in check("parquet", {"classes": CLASSES, **options}))


def test_a_root_without_parquet_files_says_what_was_found(tmp_path):
    (tmp_path / "train.csv").write_text("", encoding="utf-8")
    (fault,) = check("parquet", {"root": tmp_path, "classes": CLASSES})
    assert fault.endswith("root must hold train.parquet and val.parquet; found train.csv.")


def test_camvid_mini_conforms(camvid_mini, camvid_classes):
    for split, count in (("train", 48), ("val", 24)):
        dataset = load("parquet", split=split, root=camvid_mini, classes=camvid_classes)
        assert (len(dataset), dataset[0]["image"].shape) == (count, (3, 180, 240))
        check_dataset(dataset)
        for sample in dataset:
            check_sample(sample, dataset)
