import pickle
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError, OutsideClassesError
from ccnet_data.labels import ClassLabels, ColourLabels, MappedLabels, require_classes


@pytest.fixture
def labels():
    return np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def test_class_indices_are_read_as_they_are(png, labels):
    np.testing.assert_array_equal(ClassLabels(count=3)(png(labels), "a.png"), labels)


def test_values_without_a_class_are_listed(png, labels):
    with pytest.raises(DataError, match=re.escape("a.png: label values 1, 2 are outside the 1 classes (0 to 0)")):
        ClassLabels(count=1)(png(labels), "a.png")


def test_every_value_is_a_class_or_ignored_or_refused():
    for count in (1, 2, 19, 254, 255):
        for value in range(256):
            label = np.array([[0, value], [255, 0]], np.uint8)
            if value < count or value == 255:
                require_classes(label, count, "a.png")
            else:
                with pytest.raises(OutsideClassesError, match=f"a.png: label values {value} are outside"):
                    require_classes(label, count, "a.png")


def test_values_are_mapped_to_classes(png, labels):
    read = MappedLabels(classes={0: 255, 1: 0, 2: 1, 255: 7})
    np.testing.assert_array_equal(read(png(labels), "a.png"), [[255, 0, 1], [1, 0, 7]])


def test_values_that_are_not_mapped_are_listed(png, labels):
    with pytest.raises(DataError, match=r"^a\.png: label values 2, 255 do not occur in this dataset"):
        MappedLabels(classes={0: 0, 1: 1})(png(labels), "a.png")


@pytest.mark.parametrize("read", [ClassLabels(count=3), MappedLabels(classes={0: 0, 1: 1, 2: 2, 255: 255})])
def test_a_reader_travels_to_another_process(png, labels, read):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(read))(png(labels), "a.png"), labels)


COLOURS = {(0, 0, 0): 255, (0, 0, 255): 0, (1, 2, 3): 7, (3, 2, 1): 254}


def test_colours_are_mapped_to_classes(png):
    colours = np.array([[(0, 0, 255), (1, 2, 3)], [(3, 2, 1), (0, 0, 0)]], np.uint8)
    np.testing.assert_array_equal(ColourLabels(classes=COLOURS)(png(colours), "a.png"), [[0, 7], [254, 255]])


def test_colours_are_those_of_the_palette_of_a_palette_png():
    picture = Image.frombytes("P", (2, 1), bytes([0, 1]))
    picture.putpalette([1, 2, 3, 0, 0, 255])
    content = BytesIO()
    picture.save(content, format="PNG")
    np.testing.assert_array_equal(ColourLabels(classes=COLOURS)(content.getvalue(), "a.png"), [[7, 0]])


def test_colours_that_are_not_mapped_are_listed_and_counted(png):
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[1], colours[2, 2] = (0, 1, 0), (255, 254, 253)
    with pytest.raises(
        OutsideClassesError,
        match=r"^a\.png: 2 colours do not occur in this dataset: #000100 \(5 pixels\), #fffefd \(1 pixels\)\.",
    ):
        ColourLabels(classes=COLOURS)(png(colours), "a.png")


def test_a_few_stray_colours_are_ignored_where_they_are_expected(png):
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[:] = (1, 2, 3)
    colours[1, :2] = (9, 9, 9)
    expected = np.full((4, 5), 7)
    expected[1, :2] = 255
    np.testing.assert_array_equal(ColourLabels(classes=COLOURS, stray=2)(png(colours), "a.png"), expected)
    with pytest.raises(OutsideClassesError, match=r"#090909 \(2 pixels\)"):
        ColourLabels(classes=COLOURS, stray=1)(png(colours), "a.png")


def test_colours_in_a_lossy_format_are_refused(png):
    with pytest.raises(DataError, match=r"^a\.jpg: labels must be PNG, not JPEG"):
        ColourLabels(classes=COLOURS)(png(np.zeros((8, 8, 3), np.uint8), file_format="JPEG"), "a.jpg")


def test_a_reader_of_colours_travels_without_its_table(png):
    read = ColourLabels(classes=COLOURS)
    read(png(np.zeros((1, 1, 3), np.uint8)), "a.png")
    content = pickle.dumps(read)
    assert len(content) < 1000
    assert pickle.loads(content) == read
