import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.preview import CELL, contact_sheet, overlay, save_preview
from ccnet_data.registry import load


@pytest.fixture
def beacon():
    return load("beacon", split="train", length=9)


def test_the_overlay_mixes_six_tenths_of_the_class_colour():
    image = np.full((3, 1, 2), 100, np.uint8)
    mixed = overlay(image, np.array([[0, 255]], np.uint8), ((200, 0, 100),))
    np.testing.assert_array_equal(mixed[:, 0, 0], [160, 40, 100])


def test_the_overlay_leaves_ignored_pixels():
    image = np.full((3, 1, 2), 100, np.uint8)
    np.testing.assert_array_equal(overlay(image, np.array([[0, 255]], np.uint8), ((200, 0, 100),))[:, 0, 1], 100)


def test_the_sheet_shows_the_first_and_the_last_picture(beacon):
    sheet = np.asarray(contact_sheet(beacon, 2))
    for sample, left in ((beacon[0], 8), (beacon[8], 8 + 2 * CELL + 16)):
        shown = Image.fromarray(sample["image"].transpose(1, 2, 0)).resize((CELL, CELL), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(sheet[28 : 28 + CELL, left : left + CELL], np.asarray(shown))


def test_the_sheet_grows_by_a_row_for_two_samples(beacon):
    heights = [contact_sheet(beacon, count).height for count in (1, 2, 3, 9, 100)]
    assert heights[0] == heights[1]
    assert heights[2] - heights[1] == CELL + 28
    assert heights[3] == heights[4]


def test_the_legend_shows_every_colour(beacon):
    sheet = np.asarray(contact_sheet(beacon, 1))
    legend = sheet[28 + CELL :]
    for colour in beacon.palette:
        assert (legend == colour).all(axis=2).sum() > 100


def test_saving_leaves_the_png_and_nothing_else(beacon, tmp_path):
    file = tmp_path / "new" / "sheet.png"
    save_preview(beacon, 2, file)
    with Image.open(file) as sheet:
        assert sheet.format == "PNG"
    assert list(file.parent.iterdir()) == [file]


def test_an_interrupted_save_keeps_the_file_that_was_there(beacon, tmp_path, monkeypatch):
    file = tmp_path / "sheet.png"
    file.write_bytes(b"before")

    def stop(self, target, format):
        target.write_bytes(b"half a pic")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(OSError, match="disk full"):
        save_preview(beacon, 1, file)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_another_suffix_is_refused(beacon, tmp_path):
    with pytest.raises(DataError, match=r"ends in \.png"):
        save_preview(beacon, 1, tmp_path / "sheet.jpg")
