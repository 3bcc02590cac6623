"""Labels that come in strips of any height are in the file as if they had come at once."""

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.config import default_palette
from ccnet_core.label_file import label_writer

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")


def write(path, labels, strip, classes=19):
    strips = (labels[start : start + strip] for start in range(0, len(labels), strip))
    label_writer(path)(path, strips, labels.shape, default_palette(classes))


@pytest.mark.parametrize("strip", [1, 100, 256, 300, 999])
@pytest.mark.parametrize("size", [(600, 523), (256, 256), (1, 1), (257, 3)])
@pytest.mark.parametrize("ending", [".tif", ".TIFF", ".npy"])
def test_labels_are_whole_whatever_the_strips(tmp_path, ending, size, strip):
    labels = np.random.default_rng(0).integers(0, 19, size).astype(np.uint8)
    path = tmp_path / f"labels{ending}"
    write(path, labels, strip)
    written = np.load(path, mmap_mode="r") if ending == ".npy" else tifffile.imread(path)
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, labels)


def test_tiff_has_tiles_and_the_colours_of_the_classes(tmp_path):
    labels = np.arange(300 * 300).reshape(300, 300).astype(np.uint8) % 150
    write(tmp_path / "labels.tif", labels, 7, classes=150)
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        page = tiff.pages.first
        assert (page.tilelength, page.tilewidth, page.compression.name) == (256, 256, "ADOBE_DEFLATE")
    with Image.open(tmp_path / "labels.tif") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(default_palette(150))[labels])


@pytest.mark.parametrize("ending", [".tif", ".npy"])
def test_many_classes_are_int32(tmp_path, ending):
    labels = np.arange(300 * 2).reshape(300, 2).astype(np.int32)
    path = tmp_path / f"labels{ending}"
    write(path, labels, 7, classes=600)
    written = np.load(path) if ending == ".npy" else tifffile.imread(path)
    assert written.dtype == np.int32
    np.testing.assert_array_equal(written, labels)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ccnet.ConfigError, match=r"labels\.jpg: labels are written as \.tif, \.tiff or \.npy\. Give"):
        label_writer(tmp_path / "labels.jpg")


def test_missing_extra_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ccnet.PictureError, match=r'python -m pip install "ccnet-core\[large\]"'):
        label_writer(tmp_path / "labels.tif")
    label_writer(tmp_path / "labels.npy")
