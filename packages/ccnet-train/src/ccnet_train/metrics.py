"""Mean IoU, mean accuracy and pixel accuracy from one confusion matrix over a split."""

from dataclasses import dataclass

import numpy as np

from ccnet_train.errors import TrainError


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Shares from 0 to 1. `iou` and `accuracy` have one entry per class, nan where a class is absent.

    A class is absent from `iou` when it is neither in the truth nor predicted, from `accuracy` when it is not in the
    truth. `miou` and `macc` are means over the classes that are not absent; `aacc` is the share of correct pixels.
    """

    miou: float
    macc: float
    aacc: float
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]


class ConfusionMatrix:
    """Pixel counts (K, K) int64: row the true class, column the predicted one."""

    def __init__(self, classes: int, ignore_index: int = 255) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.ignore_index = ignore_index

    def add(self, truth: np.ndarray, prediction: np.ndarray, *, where: str = "label") -> None:
        """Count the pixels of one picture; pixels whose truth is the ignore index are left out.

        Both are (H, W) integers. Raises TrainError, naming `where`, if sizes differ or a class is out of range.
        """
        if truth.shape != prediction.shape:
            raise TrainError(f"{where}: the truth is {truth.shape} but the prediction {prediction.shape}.")
        counted = truth != self.ignore_index
        true, predicted = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
        classes = len(self.counts)
        highest = int(max(true.max(initial=0), predicted.max(initial=0)))
        if highest >= classes:
            raise TrainError(f"{where}: class {highest} is out of range, expected 0 to {classes - 1}.")
        self.counts += np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)

    def scores(self) -> Scores:
        """Return the scores of all pixels counted so far; nan where nothing was counted."""
        return scores_of(class_counts(self.counts))


def class_counts(confusion: np.ndarray) -> np.ndarray:
    """Return (3, K) from (K, K): of each class the pixels that are correct, that are true, that are predicted."""
    return np.stack([np.diag(confusion), confusion.sum(1), confusion.sum(0)])


def scores_of(counts: np.ndarray) -> Scores:
    """Return the scores that follow from the :func:`class_counts` (3, K) of some pictures."""
    correct, truth, predicted = counts
    iou = share(correct, truth + predicted - correct)
    accuracy = share(correct, truth)
    return Scores(
        miou=float(mean_of_present(iou)),
        macc=float(mean_of_present(accuracy)),
        aacc=float(share(correct.sum(), truth.sum())),
        iou=tuple(iou.tolist()),
        accuracy=tuple(accuracy.tolist()),
    )


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, nan where whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def mean_of_present(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not nan, nan where nothing is."""
    present = ~np.isnan(values)
    return share(np.where(present, values, 0).sum(-1), present.sum(-1))
