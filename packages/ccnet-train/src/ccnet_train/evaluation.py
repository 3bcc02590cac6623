"""What an evaluation found: the confusion of every picture, from which all scores follow."""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ccnet_train.metrics import ConfusionMatrix, Scores, class_counts, scores_of


@dataclass(frozen=True, kw_only=True)
class PictureCounts:
    """The pixels of one picture, which is number `index` of its split.

    `cells` (n, 3) int64 are what is not zero of its confusion matrix: true class, predicted class, pixels.
    """

    index: int
    id: str
    cells: NDArray[np.int64]

    def to_line(self) -> str:
        """Return a line of `pictures.jsonl`, without its end."""
        return json.dumps({"index": self.index, "id": self.id, "cells": self.cells.tolist()})

    @classmethod
    def from_line(cls, line: str) -> "PictureCounts":
        """Read what :meth:`to_line` wrote. Raises ValueError for anything else."""
        try:
            content = json.loads(line)
            cells = np.array(content["cells"], np.int64).reshape(-1, 3)
            return cls(index=int(content["index"]), id=str(content["id"]), cells=cells)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not the counts of a picture: {line[:80]}") from error


def count_picture(
    index: int, id: str, truth: np.ndarray, prediction: np.ndarray, *, classes: int, ignore_index: int
) -> PictureCounts:
    """Compare `truth` and `prediction`, both (H, W) integers. Raises as :meth:`ConfusionMatrix.add` does."""
    matrix = ConfusionMatrix(classes, ignore_index)
    matrix.add(truth, prediction, where=id)
    rows, columns = np.nonzero(matrix.counts)
    return PictureCounts(index=index, id=id, cells=np.stack([rows, columns, matrix.counts[rows, columns]], 1))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The `pictures` of a split, in its order, in K classes. Raises ValueError for a class out of range."""

    classes: tuple[str, ...]
    pictures: tuple[PictureCounts, ...]

    def __post_init__(self) -> None:
        """Refuse counts of other classes."""
        for picture in self.pictures:
            if picture.cells.size and not 0 <= picture.cells[:, :2].min() <= picture.cells[:, :2].max() < self._k:
                raise ValueError(f"{picture.id}: counts of a class that is not one of {self._k}")

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the pictures."""
        return tuple(picture.id for picture in self.pictures)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) pixels of all pictures: row the true class, column the predicted one."""
        total = np.zeros((self._k, self._k), np.int64)
        for picture in self.pictures:
            _add(picture, total)
        return total

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(N, 3, K): of each picture and class the pixels that are correct, that are true, and that are predicted."""
        rows = [class_counts(_add(picture, np.zeros((self._k, self._k), np.int64))) for picture in self.pictures]
        return np.stack(rows) if rows else np.zeros((0, 3, self._k), np.int64)

    @cached_property
    def scores(self) -> Scores:
        """The scores of all pixels; nan where nothing was counted."""
        return scores_of(class_counts(self.confusion))

    @property
    def has_truth(self) -> bool:
        """Whether a pixel of any picture has a true class."""
        return bool(self.confusion.any())

    @property
    def metrics(self) -> dict[str, float]:
        """The three totals."""
        return {"miou": self.scores.miou, "macc": self.scores.macc, "aacc": self.scores.aacc}

    def line(self) -> str:
        """Return the three totals on one line."""
        miou, macc, aacc = self.metrics.values()
        return f"mIoU {miou:.4f}  mAcc {macc:.4f}  aAcc {aacc:.4f}"

    def table(self) -> str:
        """Return all scores for the terminal."""
        from ccnet_train.bootstrap import intervals
        from ccnet_train.score_table import table

        return table(self.scores, self.classes, intervals(self.counts).miou)

    @property
    def _k(self) -> int:
        return len(self.classes)


def _add(picture: PictureCounts, confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    true, predicted, pixels = picture.cells.T
    np.add.at(confusion, (true, predicted), pixels)
    return confusion
