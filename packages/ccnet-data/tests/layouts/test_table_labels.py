import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts.table_labels import reader_of

PALETTE = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
VALUES = np.array([[0, 1], [2, 255]], np.uint8)
COLOURS = np.array([[PALETTE[0], PALETTE[1]], [PALETTE[2], (224, 224, 192)]], np.uint8)
VOID = ((224, 224, 192),)


def read(array, png, palette=PALETTE, ignored=(), reduce_zero_label=False, count=3):
    return reader_of(count, palette, ignored, reduce_zero_label)(png(array), "a.png")


@pytest.mark.parametrize("palette", [None, PALETTE])
def test_indices_are_taken_as_they_are(png, palette):
    np.testing.assert_array_equal(read(VALUES, png, palette), VALUES)


def test_colours_become_the_positions_of_the_palette(png):
    np.testing.assert_array_equal(read(COLOURS, png, ignored=VOID), VALUES)
    opaque = np.dstack([COLOURS, np.full((2, 2), 255, np.uint8)])
    np.testing.assert_array_equal(read(opaque, png, ignored=VOID), VALUES)


def test_colours_of_no_class_are_refused_unless_they_are_ignored(png):
    with pytest.raises(DataError, match=r"^a\.png: 1 colours do not occur in this dataset: #e0e0c0 \(1 pixels\)"):
        read(COLOURS, png)


def test_colours_without_a_palette_ask_for_it(png):
    with pytest.raises(DataError, match=r"^a\.png: the label is in colours; give palette=\[\[r, g, b\], \.\.\.\]"):
        read(COLOURS, png, palette=None)


@pytest.mark.parametrize(("palette", "ignored"), [(((0, 0, 0),) * 3, ()), (PALETTE, (PALETTE[1],))])
def test_a_colour_of_two_meanings_is_refused(png, palette, ignored):
    with pytest.raises(DataError, match="palette and ignored_colours hold one twice"):
        read(COLOURS, png, palette, ignored)
    np.testing.assert_array_equal(read(VALUES, png, palette, ignored), VALUES)


def test_indices_may_count_from_1(png):
    np.testing.assert_array_equal(read(VALUES, png, reduce_zero_label=True, count=2), [[255, 0], [1, 255]])
    with pytest.raises(DataError, match=r"^a\.png: label values 2 do not occur"):
        read(VALUES, png, reduce_zero_label=True, count=1)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"text"])
def test_a_damaged_file_is_one_error(content):
    with pytest.raises(DataError, match=r"^a\.png: "):
        reader_of(3, PALETTE, (), False)(content, "a.png")
