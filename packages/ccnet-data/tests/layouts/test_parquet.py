import pickle
import re

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import check, load, source_named
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


def test_a_root_may_have_numbered_files_of_a_split(write, tmp_path):
    for number, count in enumerate((3, 1, 2)):
        write(f"train-{number:05d}-of-00003.parquet", count=count)
    dataset = load("parquet", split="train", root=tmp_path, classes=CLASSES)
    assert [sample["label"].max() for sample in dataset] == [0, 1, 2, 0, 0, 1]
    assert source_named("parquet")(root=tmp_path, classes=CLASSES).splits() == ("train",)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    assert check("parquet", {"root": tmp_path, "classes": CLASSES}) == [
        f"{tmp_path}: train-00001-of-00003.parquet is missing; fetch the split 'train' whole."
    ]


def test_a_file_that_was_written_again_is_read_again(write):
    assert len(load("parquet", split="train", files=write(count=3), classes=CLASSES)) == 3
    assert len(load("parquet", split="train", files=write(count=1), classes=CLASSES)) == 1


def test_the_cache_is_where_the_user_wants_it(write, arrow_cache):
    load("parquet", split="train", files=write(), classes=CLASSES)
    assert list(arrow_cache.rglob("*.arrow"))


@pytest.mark.parametrize(
    ("image", "label"), [("pixel_values", "annotation"), ("img", "mask"), ("image", "semantic_segmentation")]
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


def test_a_file_that_is_not_whole_is_refused_before_any_work(tmp_path, arrow_cache):
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train\.parquet: not a whole parquet file"):
        load("parquet", split="train", root=tmp_path, classes=CLASSES)
    assert not arrow_cache.exists()


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
        ({"root": ".", "files": "a.parquet"}, "Give one of root=DIR, files=FILE and repo=NAME, not several"),
        ({"files": "none.parquet"}, "none.parquet: cannot be read (No such file"),
        ({"repo": "org/name", "root": "."}, "Give one of root=DIR, files=FILE and repo=NAME, not several"),
        ({"root": ".", "config": "small"}, "config and revision are those of a repo"),
        ({"root": ".", "revision": "main"}, "config and revision are those of a repo"),
        ({"files": []}, "files must be one value or a list of them, got []"),
    ],
)
def test_wrong_places_are_told(options, message):
    assert any(message in fault for fault in check("parquet", {"classes": CLASSES, **options}))


def test_camvid_mini_conforms(camvid_mini, camvid_classes):
    for split, count in (("train", 48), ("val", 24)):
        dataset = load("parquet", split=split, root=camvid_mini, classes=camvid_classes)
        assert (len(dataset), dataset[0]["image"].shape) == (count, (3, 180, 240))
        check_dataset(dataset)
        for sample in dataset:
            check_sample(sample, dataset)


@pytest.fixture
def repo(write, tmp_path):
    """A folder that looks like a dataset of the Hub, with 4 samples to train on and 2 in "validation"."""
    folder = tmp_path / "org" / "streets"
    (folder / "data").mkdir(parents=True)
    for split, count in (("train", 4), ("validation", 2)):
        write(image="pixel_values", count=count).rename(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


FOUR = ["one", "two", "three", "four"]


def test_a_repository_conforms_and_val_is_its_validation(repo):
    assert check("parquet", {"repo": str(repo), "classes": FOUR}) == []
    train = load("parquet", split="train", repo=str(repo), classes=FOUR)
    check_dataset(train)
    assert [sample["label"].max() for sample in train] == [0, 1, 2, 3]
    for split in ("val", "validation"):
        assert len(load("parquet", split=split, repo=str(repo), classes=FOUR)) == 2


def test_a_split_that_a_repository_lacks_is_told_with_those_it_has(repo):
    (fault,) = check("parquet", {"repo": str(repo / "none"), "classes": FOUR})
    assert "none: cannot be read (" in fault
    with pytest.raises(DataError, match=r"streets: there is no split 'test'\. Those there are: train, validation\."):
        load("parquet", split="test", repo=str(repo), classes=FOUR)


@pytest.mark.parametrize("place", ["repo", "files"])
def test_a_stream_gives_the_samples_of_the_table_in_the_same_order(repo, place):
    where = str(repo) if place == "repo" else [str(file) for file in sorted((repo / "data").iterdir())]
    table, stream = (
        load("parquet", split="train", classes=FOUR, streaming=streaming, **{place: where})
        for streaming in (False, True)
    )
    for _ in range(2):
        for expected, sample in zip(table, stream, strict=True):
            check_sample(sample, stream)
            assert sample["id"] == expected["id"]
            np.testing.assert_array_equal(sample["image"], expected["image"])
            np.testing.assert_array_equal(sample["label"], expected["label"])
    assert (stream.classes, stream.palette, stream.task) == (table.classes, table.palette, table.task)


def test_a_stream_cannot_replace_damaged_samples(repo):
    (fault,) = check("parquet", {"repo": str(repo), "classes": FOUR, "streaming": True, "on_error": "replace"})
    assert fault.startswith("streaming: no other sample can replace a damaged one")


def test_class_names_come_from_the_repository(repo):
    (repo / "id2label.json").write_text('{"1": "road", "0": "sky", "3": "d", "2": "c"}', encoding="utf-8")
    assert load("parquet", split="val", repo=str(repo)).classes == ("sky", "road", "c", "d")
    assert load("parquet", split="val", repo=str(repo), classes=CLASSES).classes == tuple(CLASSES)
    assert load("parquet", split="val", repo=str(repo), reduce_zero_label=True).classes == ("road", "c", "d")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"classes is missing: give classes=\[\.\.\.\] .* has no id2label\.json that can be read"),
        ("[1]", "id2label.json: is not"),
        ('{"a": "b"}', "id2label.json: is not"),
        ("{", "id2label.json: is not"),
        ('{"0": "a", "2": "b"}', "names the values 0, 2, with gaps"),
        ('{"0": "a", "1": "a"}', "class names must be different names"),
        ('{"0": 1}', "class names must be a text"),
    ],
)
def test_class_names_that_cannot_be_read_are_asked_for(repo, content, message):
    if content is not None:
        (repo / "id2label.json").write_text(content, encoding="utf-8")
    (fault,) = check("parquet", {"repo": str(repo)})
    assert re.search(message, fault)


def test_labels_may_count_from_1(write):
    dataset = load("parquet", split="train", files=write(), classes=CLASSES[:2], reduce_zero_label=True)
    check_dataset(dataset)
    assert [int(sample["label"][0, 0]) for sample in dataset] == [255, 0, 1]


def test_coloured_masks_are_read_by_the_palette(tmp_path, png):
    import datasets

    label = np.zeros((4, 6, 3), np.uint8)
    label[1:], label[3] = (128, 0, 0), (224, 224, 192)
    picture = {"bytes": png(np.zeros((4, 6, 3), np.uint8)), "path": None}
    rows = {"image": [picture], "mask": [{"bytes": png(label), "path": None}]}
    features = datasets.Features(image=datasets.Image(), mask=datasets.Image())
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    options = {"root": tmp_path, "classes": ["background", "aeroplane"], "palette": [[0, 0, 0], [128, 0, 0]]}
    sample = load("parquet", split="train", **options, ignored_colours=[[224, 224, 192]])[0]
    np.testing.assert_array_equal(sample["label"], np.repeat([[0], [1], [1], [255]], 6, axis=1))
    with pytest.raises(DataError, match=r"row 0, column 'mask': 1 colours do not occur in this dataset: #e0e0c0"):
        load("parquet", split="train", **options)[0]
