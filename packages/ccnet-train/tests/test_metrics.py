import math

import numpy as np
import pytest

from ccnet_train import TrainError
from ccnet_train.metrics import ConfusionMatrix


def scores_of(truth, prediction, classes):
    matrix = ConfusionMatrix(classes)
    matrix.add(np.array(truth), np.array(prediction))
    return matrix.scores()


def slow_iou(truth, prediction, label):
    kept = [(t, p) for t, p in zip(truth.ravel(), prediction.ravel(), strict=True) if t != 255]
    both = sum(t == label and p == label for t, p in kept)
    either = sum(t == label or p == label for t, p in kept)
    return both / either


def test_iou_equals_counting_pixel_by_pixel():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 3, 255], (20, 30)).astype(np.uint8)
    prediction = rng.integers(0, 4, (20, 30)).astype(np.uint8)
    scores = scores_of(truth, prediction, 4)
    assert scores.iou == pytest.approx([slow_iou(truth, prediction, label) for label in range(4)])
    assert scores.miou == pytest.approx(np.mean(scores.iou))
    kept = truth != 255
    assert scores.aacc == pytest.approx(np.mean(truth[kept] == prediction[kept]))


def test_scores_of_a_picture_worked_out_by_hand():
    scores = scores_of([[0, 0, 0, 1]], [[0, 0, 1, 1]], 2)
    assert scores.iou == pytest.approx((2 / 3, 1 / 2))
    assert scores.accuracy == pytest.approx((2 / 3, 1.0))
    assert (scores.miou, scores.macc, scores.aacc) == pytest.approx((7 / 12, 5 / 6, 3 / 4))


def test_an_absent_class_is_left_out_of_the_means():
    scores = scores_of([[0, 1]], [[0, 1]], 3)
    assert math.isnan(scores.iou[2])
    assert (scores.miou, scores.macc) == (1.0, 1.0)


def test_a_class_that_is_only_predicted_counts_as_zero_iou_but_has_no_accuracy():
    scores = scores_of([[0, 0]], [[0, 2]], 3)
    assert scores.iou[2] == 0.0
    assert math.isnan(scores.accuracy[2])
    assert (scores.miou, scores.macc) == pytest.approx((0.25, 0.5))


def test_ignored_pixels_do_not_count_whatever_was_predicted():
    assert scores_of([[0, 255]], [[0, 1]], 2).miou == 1.0


def test_several_pictures_add_up():
    whole, parts = ConfusionMatrix(3), ConfusionMatrix(3)
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(0, 3, (2, 8, 8))
    whole.add(truth, prediction)
    parts.add(truth[:5], prediction[:5])
    parts.add(truth[5:], prediction[5:])
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.counts.dtype == np.int64


def test_a_class_out_of_range_is_named_with_its_picture():
    with pytest.raises(TrainError, match="frame 7: class 3 is out of range, expected 0 to 2"):
        ConfusionMatrix(3).add(np.array([[3]]), np.array([[0]]), where="frame 7")


def test_different_sizes_are_refused():
    with pytest.raises(TrainError, match=r"frame 7: the truth is \(2, 2\) but the prediction \(2, 3\)"):
        ConfusionMatrix(3).add(np.zeros((2, 2), int), np.zeros((2, 3), int), where="frame 7")
