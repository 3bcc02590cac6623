from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError, OutsideClassesError, SizeMismatchError
from ccnet_data.shards.columns import LARGEST_VALUE, Columns

ENCODINGS = [("raw", None), ("png", None), ("jpeg", 90)]


def columns(encoding="raw", quality=None, task="segmentation", classes=3):
    return Columns(encoding=encoding, quality=quality, task=task, classes=classes)


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("frames", [0, 3])
def test_a_sample_comes_back_bit_for_bit(noise, same, encoding, frames):
    dataset = noise(frames=frames)
    form = columns(encoding, task=dataset.task)
    for sample in dataset:
        back = form.sample(form.row(sample), "here")
        same(back, sample)
        assert all(back[key].flags.c_contiguous and back[key].flags.writeable for key in ("image", "label"))


def test_jpeg_changes_pictures_within_bounds_and_labels_not_at_all():
    rows, columns_ = np.mgrid[:96, :128]
    smooth = np.stack([rows * 2, columns_ * 2, rows + columns_]).astype(np.uint8)
    sample = {"image": smooth, "label": (rows % 3).astype(np.uint8), "id": "waves"}
    changes = {}
    for quality in (50, 90, 100):
        form = columns("jpeg", quality)
        back = form.sample(form.row(sample), "here")
        np.testing.assert_array_equal(back["label"], sample["label"])
        changes[quality] = np.abs(back["image"].astype(int) - smooth).max()
    assert changes[100] <= 2
    assert changes[90] <= 6
    assert changes[50] > changes[90]


def test_jpeg_keeps_the_colours_of_thin_lines():
    # With colours at half the resolution, red lines on grey would change by 69.
    image = np.full((3, 32, 32), 128, np.uint8)
    image[:, :, ::4] = np.array([200, 60, 60], np.uint8)[:, None, None]
    form = columns("jpeg", 90)
    back = form.sample(form.row({"image": image, "label": image[0] * 0, "id": "lines"}), "here")
    assert np.abs(back["image"].astype(int) - image).max() <= 12


@pytest.mark.parametrize("encoding", [("png", None), ("jpeg", 90)])
def test_a_label_is_a_palette_picture_in_the_grey_of_its_values(encoding):
    label = np.arange(256, dtype=np.uint8).reshape(16, 16)
    row = columns(*encoding).row({"image": np.zeros((3, 16, 16), np.uint8), "label": label, "id": "a"})
    stored = Image.open(BytesIO(row["label"]["bytes"]))
    assert (stored.format, stored.mode) == ("PNG", "P")
    np.testing.assert_array_equal(stored, label)
    np.testing.assert_array_equal(stored.convert("L"), label)


def test_a_sample_made_for_training_is_refused():
    sample = {"image": np.zeros((3, 2, 2), np.uint8), "label": np.zeros((2, 2), np.uint8), "id": "a"}
    for key in ("replaces", "warp"):
        with pytest.raises(DataError, match=f"Sample 'a': holds {key}, for which shards have no column"):
            columns().row(sample | {key: "x"})


def test_a_name_that_is_no_text_is_refused():
    sample = {"image": np.zeros((3, 2, 2), np.uint8), "label": np.zeros((2, 2), np.uint8), "id": "a\udcff"}
    with pytest.raises(DataError, match="the id is not UTF-8; rename its file"):
        columns().row(sample)


def test_a_sample_larger_than_parquet_counts_is_refused():
    huge = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (3, 2**15, 2**15))
    with pytest.raises(DataError, match=f"has {huge.size} bytes, more than {LARGEST_VALUE}; cut it into tiles"):
        columns().row({"image": huge, "label": huge[0], "id": "a"})


@pytest.mark.parametrize(("height", "width"), [(2, 3), (-2, -2), (0, 4), (2**31 - 1, 2**31 - 1)])
def test_raw_bytes_that_do_not_fit_their_size_are_refused(height, width):
    row = {"image": bytes(12), "label": bytes(4), "height": height, "width": width, "id": "a"}
    with pytest.raises(DataError, match=r"^here, column 'image': has 12 bytes, not those of"):
        columns().sample(row, "here")


@pytest.mark.parametrize(("encoding", "quality"), ENCODINGS)
def test_labels_of_no_class_are_refused(encoding, quality):
    label = np.array([[0, 255], [3, 2]], np.uint8)
    form = columns(encoding, quality)
    row = form.row({"image": np.zeros((3, 2, 2), np.uint8), "label": label, "id": "a"})
    with pytest.raises(OutsideClassesError, match=r"^here, column 'label': label values 3 are outside the 3 classes"):
        form.sample(row, "here")
    assert columns(encoding, quality, classes=4).sample(row, "here")["label"].max() == 255


def test_damaged_pictures_are_refused(noise):
    form = columns("png")
    row = form.row(noise()[3])
    for damage, message in (
        ({"image": None}, "holds no picture"),
        ({"label": {"bytes": None, "path": "x.png"}}, "holds no picture"),
        ({"image": {"bytes": b"x", "path": None}}, "column 'image': not a readable picture"),
        ({"label": form.row(noise()[1])["label"]}, "the picture is 64x48 .* but its label is 7x1"),
    ):
        with pytest.raises(DataError, match=f"^here.*{message}"):
            form.sample(row | damage, "here")
    with pytest.raises(SizeMismatchError):
        form.sample(row | {"label": form.row(noise()[1])["label"]}, "here")
    clip = columns("png", task="video")
    with pytest.raises(DataError, match=r"^here: the clip has no frames"):
        clip.sample(row | {"image": []}, "here")


def test_frames_of_different_sizes_are_no_clip(noise):
    form = columns("png", task="video")
    rows = [columns("png").row(noise()[index]) for index in (3, 1)]
    with pytest.raises(SizeMismatchError):
        form.sample(rows[0] | {"image": [row["image"] for row in rows]}, "here")
