from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import ccnet_data
from ccnet_data.errors import DataError
from ccnet_data.shards.columns import Columns
from ccnet_data.shards.convert import convert
from ccnet_data.shards.files import ShardFile
from ccnet_data.shards.objects import object_values, read_objects
from ccnet_data.shards.plan import Format
from ccnet_data.shards.write import write_shard
from ccnet_data.testing import check_dataset

LENGTH = 30


def objects(count, size=(5, 13), **more):
    """A sample of noise with boxes that decimal fractions do not hold."""
    rng = np.random.default_rng(count)
    return {
        "image": rng.integers(0, 256, (3, *size), np.uint8),
        "boxes": (rng.random((count, 4)) * 1000 / 7).astype(np.float32),
        "masks": rng.random((count, *size)) < 0.5,
        "classes": rng.integers(0, 300, count),
        "crowd": rng.random(count) < 0.5,
        "id": "é",
        **more,
    }


def require_equal(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if key != "id":
            assert (other[key].dtype, other[key].flags.writeable) == (value.dtype, True)
        np.testing.assert_array_equal(other[key], value, strict=key != "id")


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("more", [{}, {"areas": None}])
@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_objects_come_back_bit_for_bit(count, more, encoding):
    areas = {key: np.random.default_rng(1).random(count) * 1e6 / 3 for key in more}
    sample = objects(count, **areas)
    form = Columns(encoding=encoding, task="instances", classes=300)
    require_equal(sample, form.sample(form.row(sample), "here"))


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_objects_come_back_bit_for_bit_from_a_file(tmp_path, encoding):
    samples = [objects(0), objects(3, areas=np.array([1 / 3, 1e9 / 7, 0])), objects(2, (40, 9)), objects(0)]
    form = Columns(encoding=encoding, task="instances", classes=300)
    file = tmp_path / "train-00000-of-00001.parquet"
    shard = ShardFile(file, write_shard(samples, form, file), form)
    for row, sample in enumerate(samples):
        require_equal(sample, shard.sample(row))


def test_jpeg_changes_the_picture_alone():
    sample = objects(3)
    form = Columns(encoding="jpeg", quality=90, task="instances", classes=300)
    back = form.sample(form.row(sample), "here")
    assert not np.array_equal(back["image"], sample["image"])
    require_equal(sample, {**back, "image": sample["image"]})


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_converted_dataset_has_the_samples_of_the_original(tmp_path, encoding):
    form = Format(encoding=encoding, shard_size=400_000)
    manifest = convert("shapes", {"length": LENGTH}, tmp_path / "out", form=form, workers=0).manifest
    assert len(manifest.splits["train"]) > 1
    for split in ("train", "val"):
        original = ccnet_data.load("shapes", split, length=LENGTH)
        stored = ccnet_data.load("shards", split, root=tmp_path / "out")
        check_dataset(stored)
        assert (stored.task, stored.classes, stored.palette) == ("instances", original.classes, original.palette)
        for one, other in zip(original, stored, strict=True):
            require_equal(one, other)


def test_hugging_face_reads_boxes_and_masks(tmp_path, arrow_cache):
    from datasets import load_dataset

    convert("shapes", {"length": 5}, tmp_path / "out", splits=["train"], workers=0)
    rows = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(arrow_cache))
    for row, sample in zip(rows, ccnet_data.load("shapes", "train", length=5), strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"]), sample["image"].transpose(1, 2, 0))
        np.testing.assert_array_equal(np.reshape(row["boxes"], (-1, 4)), sample["boxes"])
        assert row["classes"] == sample["classes"].tolist()
        for picture, mask in zip(row["masks"], sample["masks"], strict=True):
            np.testing.assert_array_equal(np.asarray(picture), mask)


def test_masks_are_pictures_of_one_bit():
    (cell, *_) = object_values(objects(2))["masks"]
    assert Image.open(BytesIO(cell["bytes"])).mode == "1"


def picture_of(array):
    stream = BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": [picture_of(np.zeros((13, 5), bool))]}, "column 'masks': holds no mask of 13x5; convert or fetch"),
        ({"masks": [picture_of(np.zeros((5, 13), np.uint8))]}, "column 'masks': holds no mask of 13x5"),
        ({"masks": [{"bytes": b"x", "path": None}]}, "column 'masks': not a readable picture"),
        ({"masks": []}, "has not as many boxes, masks, classes, crowd, areas"),
        ({"crowd": [True, False]}, "has not as many boxes, masks, classes, crowd, areas"),
        ({"areas": []}, "has not as many boxes, masks, classes, crowd, areas"),
        ({"classes": [300]}, "column 'classes': holds others than 0 to 299"),
        ({"classes": [-1]}, "column 'classes': holds others than 0 to 299"),
    ],
)
def test_values_that_do_not_belong_together_are_refused(changes, message):
    sample = objects(1)
    row = {**object_values(sample), **changes}
    with pytest.raises(DataError, match=f"^here.*{message}"):
        read_objects(row, sample["image"], 300, "a", "here")


def test_an_augmented_sample_with_another_key_is_refused():
    form = Columns(encoding="png", task="instances", classes=300)
    with pytest.raises(DataError, match="holds replaces, for which shards have no column"):
        form.row(objects(1, replaces="x"))
