"""Evaluation: every picture of a split by the model's own inference plan, shared among processes."""

from collections.abc import Callable, Sequence

import numpy as np

import ccnet_core as ccnet
from ccnet_train.datasets import Sample, SampleDataset
from ccnet_train.evaluation import Evaluation, PictureCounts, count_picture
from ccnet_train.launch import Accelerator
from ccnet_train.picture_shares import measure_pictures
from ccnet_train.tasks import task_of

Keep = Callable[[Sample, np.ndarray, PictureCounts], None]
"""Told of each picture as soon as it is predicted: the sample, its labels (H, W) and their counts."""


def evaluate(
    model: ccnet.CCNet,
    dataset: SampleDataset,
    accelerator: Accelerator,
    *,
    known: Sequence[PictureCounts] = (),
    keep: Keep | None = None,
    show: bool = True,
) -> Evaluation:
    """Compare the predictions of `model` with all of `dataset`, each process taking its share of the pictures.

    `model` is the network itself, not wrapped for several processes; `model.config.inference` says how it predicts.
    The pictures that are `known` to any process are left out. Every process returns the same.
    """

    def measure(index: int) -> PictureCounts:
        sample = dataset[index]
        labels = predicted(model, dataset, sample, accelerator)
        counts = _count(index, sample, labels, dataset)
        if keep:
            keep(sample, labels, counts)
        return counts

    pictures = measure_pictures(len(dataset), measure, PictureCounts.from_line, accelerator, known=known, show=show)
    return Evaluation(classes=tuple(dataset.classes), pictures=pictures)


def predicted(model: ccnet.CCNet, dataset: SampleDataset, sample: Sample, accelerator: Accelerator) -> np.ndarray:
    """Return the labels (H, W) that `model` gives a `sample` of `dataset` when it is evaluated."""
    with accelerator.autocast():
        labels: np.ndarray = task_of(dataset).predict(model, sample)
        return labels


def _count(index: int, sample: Sample, labels: np.ndarray, dataset: SampleDataset) -> PictureCounts:
    classes, ignored = len(dataset.classes), dataset.ignore_index
    return count_picture(index, sample["id"], sample["label"], labels, classes=classes, ignore_index=ignored)
