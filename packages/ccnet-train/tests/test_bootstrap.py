import math

import numpy as np
import pytest

from ccnet_train.bootstrap import RESAMPLES, SEED, Interval, intervals, paired_intervals
from ccnet_train.metrics import ConfusionMatrix


def pictures(number, *, classes=4, seed=0, size=(6, 7), right=0.6):
    """Return truths and predictions (N, H, W); truths have ignored pixels, and the last class in one picture only."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(classes - 1), 255], (number, *size))
    truth[1, 2, 3:] = classes - 1
    guess = rng.integers(0, classes - 1, truth.shape)
    predicted = np.where((rng.random(truth.shape) < right) & (truth != 255), truth, guess)
    return truth, predicted


def counts_of(truths, predictions, classes=4):
    """Count pixel by pixel what is correct, true and predicted, per picture and class."""
    counts = np.zeros((len(truths), 3, classes), np.int64)
    for picture, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
        for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
            if t != 255:
                counts[picture, 0, t] += t == p
                counts[picture, 1, t] += 1
                counts[picture, 2, p] += 1
    return counts


def slow_draws(truths, predictions, classes=4):
    """Return the scores of every draw, each from a confusion matrix of the drawn pictures, repeated."""
    number = len(truths)
    drawn = []
    for times in np.random.default_rng(SEED).multinomial(number, [1 / number] * number, RESAMPLES):
        matrix = ConfusionMatrix(classes)
        for picture, repetitions in enumerate(times):
            for _ in range(repetitions):
                matrix.add(truths[picture], predictions[picture])
        scores = matrix.scores()
        drawn.append([scores.miou, scores.macc, scores.aacc, *scores.iou])
    return np.array(drawn)


def slow_interval(drawn):
    """Return the percentiles by sorting, with numbers between two neighbours on the line through them."""
    kept = sorted(value for value in drawn if not math.isnan(value))
    ends = []
    for share in (0.025, 0.975):
        place = share * (len(kept) - 1)
        below = math.floor(place)
        above = min(below + 1, len(kept) - 1)
        ends.append(kept[below] + (place - below) * (kept[above] - kept[below]))
    return tuple(ends)


def ends(found):
    return [(one.low, one.high) for one in (found.miou, found.macc, found.aacc, *found.iou)]


@pytest.fixture(scope="module")
def split():
    truths, predictions = pictures(9)
    truths[4] = 255  # a picture without any labelled pixel
    return truths, predictions


def test_intervals_equal_confusion_matrices_of_repeated_pictures(split):
    drawn = slow_draws(*split)
    assert np.isnan(drawn).any()  # the rare class is missing in some draws
    expected = [slow_interval(column) for column in drawn.T]
    np.testing.assert_allclose(ends(intervals(counts_of(*split))), expected, rtol=1e-12)


def test_a_difference_is_that_of_the_same_draws(split):
    truths, _ = split
    worse = pictures(9, right=0.3)[1]
    expected = [slow_interval(column) for column in (slow_draws(truths, worse) - slow_draws(*split)).T]
    found = paired_intervals(counts_of(*split), counts_of(truths, worse))
    np.testing.assert_allclose(ends(found), expected, rtol=1e-12, atol=1e-15)
    assert found.miou.excludes_zero


def test_no_difference_between_equal_evaluations(split):
    counts = counts_of(*split)
    same = paired_intervals(counts, counts)
    assert same.miou == Interval(0.0, 0.0)
    assert not same.miou.excludes_zero


def test_a_paired_interval_is_narrower_than_the_pictures_alone_would_allow():
    rng = np.random.default_rng(1)
    hard = rng.random((80, 1))  # what makes a picture hard, for both alike
    true = np.full((80, 2), 1000)
    first, second = (np.rint(true * (hard * 0.6 + gain)).astype(np.int64) for gain in (0.1, 0.12))
    counts = [np.stack([correct, true, correct + (true - correct)[:, ::-1]], 1) for correct in (first, second)]
    alone, paired = intervals(counts[0]).miou, paired_intervals(*counts).miou
    assert (paired.high - paired.low) < 0.2 * (alone.high - alone.low)
    assert paired.excludes_zero


def test_a_class_that_no_picture_has_has_no_interval(split):
    counts = np.pad(counts_of(*split), ((0, 0), (0, 0), (0, 1)))
    found = intervals(counts)
    assert math.isnan(found.iou[4].low)
    assert found.miou == intervals(counts[:, :, :4]).miou
    assert not found.iou[4].excludes_zero


def test_one_picture_leaves_no_spread(split):
    found = intervals(counts_of(*split)[:1])
    assert found.miou.low == found.miou.high


def test_nineteen_of_twenty_intervals_hold_the_score_of_all_pictures():
    """Splits of 60 pictures of a population: the expected share is 95 %, and a little less for so few pictures."""
    rng = np.random.default_rng(5)
    true = rng.integers(50, 150, (20_000, 3))
    correct = rng.binomial(true, np.clip(rng.normal(0.7, 0.15, true.shape), 0, 1))
    wrong = (true - correct)[:, [1, 2, 0]]  # every class is taken for the next one
    population = np.stack([correct, true, correct + wrong], 1)
    sums = population.sum(0)
    truth = (sums[0] / (sums[1] + sums[2] - sums[0])).mean()
    splits = [rng.choice(len(population), 60) for _ in range(300)]
    held = [found.low <= truth <= found.high for found in (intervals(population[s]).miou for s in splits)]
    assert 0.90 <= np.mean(held) <= 0.98
