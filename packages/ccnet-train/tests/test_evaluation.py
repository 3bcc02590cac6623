import numpy as np
import pytest

from ccnet_train.evaluation import Evaluation, PictureCounts, count_picture
from ccnet_train.metrics import ConfusionMatrix


def random_pictures(count=4, classes=5):
    rng = np.random.default_rng(0)
    truth = rng.choice([*range(classes), 255], (count, 6, 7)).astype(np.uint8)
    prediction = rng.integers(0, classes, (count, 6, 7)).astype(np.uint8)
    return truth, prediction


def counted(truth, prediction, classes=5):
    return tuple(
        count_picture(index, f"{index}.png", own, other, classes=classes, ignore_index=255)
        for index, (own, other) in enumerate(zip(truth, prediction, strict=True))
    )


def test_the_confusion_is_that_of_all_pixels():
    truth, prediction = random_pictures()
    matrix = ConfusionMatrix(5)
    matrix.add(truth.reshape(-1, 7), prediction.reshape(-1, 7))
    found = Evaluation(classes=tuple("abcde"), pictures=counted(truth, prediction))
    np.testing.assert_array_equal(found.confusion, matrix.counts)
    assert found.scores == matrix.scores()
    assert found.has_truth


def test_the_counts_of_a_picture_equal_counting_pixel_by_pixel():
    truth, prediction = random_pictures()
    found = Evaluation(classes=tuple("abcde"), pictures=counted(truth, prediction))
    assert found.counts.shape == (4, 3, 5)
    for picture in range(4):
        for label in range(5):
            pairs = [(t, p) for t, p in zip(truth[picture].flat, prediction[picture].flat, strict=True) if t != 255]
            correct = sum(t == label == p for t, p in pairs)
            true, predicted = (sum(pair[side] == label for pair in pairs) for side in (0, 1))
            assert found.counts[picture, :, label].tolist() == [correct, true, predicted]


def test_a_line_holds_all_of_a_picture():
    [picture] = counted(*(part[:1] for part in random_pictures()))
    read = PictureCounts.from_line(picture.to_line())
    assert (read.index, read.id) == (0, "0.png")
    np.testing.assert_array_equal(read.cells, picture.cells)
    assert read.cells.dtype == np.int64


def test_a_picture_without_a_labelled_pixel_counts_nothing():
    [picture] = counted(np.full((1, 2, 2), 255), np.zeros((1, 2, 2), int))
    found = Evaluation(classes=("a",) * 5, pictures=(PictureCounts.from_line(picture.to_line()),))
    assert not found.has_truth
    assert found.counts.sum() == 0
    assert np.isnan(found.scores.miou)


def test_no_pictures_are_counts_of_none():
    assert Evaluation(classes=("a", "b"), pictures=()).counts.shape == (0, 3, 2)


@pytest.mark.parametrize("line", ["", "3", "{}", '{"index": 0, "id": "a", "cells": [[1, 2]]}', '{"index": 0, "id'])
def test_another_line_is_refused(line):
    with pytest.raises(ValueError, match=r"."):
        PictureCounts.from_line(line)


@pytest.mark.parametrize("cell", [(2, 0, 1), (0, 2, 1), (-1, 0, 1)])
def test_counts_of_another_class_are_refused(cell):
    picture = PictureCounts(index=0, id="7.png", cells=np.array([cell]))
    with pytest.raises(ValueError, match=r"7.png: counts of a class that is not one of 2"):
        Evaluation(classes=("a", "b"), pictures=(picture,))
