"""Intervals of scores by resampling the pictures of a split, and of the difference between two evaluations of them.

The percentile bootstrap of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: a split of N
pictures is drawn again, N of its pictures with repetition, and the scores of many such draws spread as far as another
split of this size might.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ccnet_train.metrics import mean_of_present, share

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0
"""Of the draws, always the same: a report that is made again says the same, and pairs are drawn alike."""

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`; both nan where no draw has the score."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """An interval for each score of :class:`ccnet_train.metrics.Scores`, or for the difference in each."""

    miou: Interval
    macc: Interval
    aacc: Interval
    iou: tuple[Interval, ...]


def intervals(counts: NDArray[np.int64]) -> Intervals:
    """Return the 95 % intervals of the scores of `counts` (N, 3, K), as of :class:`ccnet_train.evaluation.Evaluation`.

    A draw without any pixel of a class leaves the class out of its means, as the scores of a split do.
    """
    return _percentiles(_drawn_scores(counts))


def paired_intervals(first: NDArray[np.int64], second: NDArray[np.int64]) -> Intervals:
    """Return the 95 % intervals of `second` minus `first`, two evaluations (N, 3, K) of the same pictures.

    Each draw takes the same pictures of both, so what makes a picture hard for both does not widen the interval.
    """
    return _percentiles(_drawn_scores(second) - _drawn_scores(first))


def _drawn_scores(counts: NDArray[np.int64]) -> Shares:
    """Return (draws, 3 + K): mIoU, mAcc, aAcc, and the IoU of each class."""
    pictures, _, classes = counts.shape
    chances = np.full(pictures, 1 / pictures)
    times = np.random.default_rng(SEED).multinomial(pictures, chances, RESAMPLES)
    # As float64 numpy multiplies with BLAS, and sums of pixels stay exact up to 2**53.
    sums = times.astype(np.float64) @ counts.reshape(pictures, 3 * classes).astype(np.float64)
    correct, true, predicted = sums.reshape(RESAMPLES, 3, classes).swapaxes(0, 1)
    iou = share(correct, true + predicted - correct)
    totals = [mean_of_present(iou), mean_of_present(share(correct, true)), share(correct.sum(1), true.sum(1))]
    return np.column_stack([*totals, iou])


def _percentiles(drawn: Shares) -> Intervals:
    miou, macc, aacc, *iou = map(_interval, drawn.T)
    return Intervals(miou=miou, macc=macc, aacc=aacc, iou=tuple(iou))


def _interval(drawn: Shares) -> Interval:
    found = drawn[~np.isnan(drawn)]
    if not found.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
