import pickle
import re

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.labels import ClassLabels, MappedLabels


@pytest.fixture
def labels():
    return np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def test_class_indices_are_read_as_they_are(png, labels):
    np.testing.assert_array_equal(ClassLabels(count=3)(png(labels), "a.png"), labels)


def test_values_without_a_class_are_listed(png, labels):
    with pytest.raises(DataError, match=re.escape("a.png: label values 1, 2 are outside the 1 classes (0 to 0)")):
        ClassLabels(count=1)(png(labels), "a.png")


def test_values_are_mapped_to_classes(png, labels):
    read = MappedLabels(classes={0: 255, 1: 0, 2: 1, 255: 7})
    np.testing.assert_array_equal(read(png(labels), "a.png"), [[255, 0, 1], [1, 0, 7]])


def test_values_that_are_not_mapped_are_listed(png, labels):
    with pytest.raises(DataError, match=r"^a\.png: label values 2, 255 do not occur in this dataset"):
        MappedLabels(classes={0: 0, 1: 1})(png(labels), "a.png")


@pytest.mark.parametrize("read", [ClassLabels(count=3), MappedLabels(classes={0: 0, 1: 1, 2: 2, 255: 255})])
def test_a_reader_travels_to_another_process(png, labels, read):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(read))(png(labels), "a.png"), labels)
