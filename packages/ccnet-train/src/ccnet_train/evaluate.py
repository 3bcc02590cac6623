"""Evaluation: every picture of a split by the model's own inference plan, shared among processes."""

from collections.abc import Callable, Sequence

import numpy as np

import ccnet_core as ccnet
from ccnet_train.datasets import Sample, SampleDataset
from ccnet_train.evaluation import Evaluation, PictureCounts, count_picture
from ccnet_train.launch import Accelerator, gather_texts, own_errors
from ccnet_train.progress import bar
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
    found = _of_all_processes(known, accelerator)
    counted = {picture.index for picture in found}
    left = [index for index in range(len(dataset)) if index not in counted]
    own = []
    with own_errors(accelerator):
        share = left[accelerator.process_index :: accelerator.num_processes]
        for index in bar(share, "evaluate", show=show and accelerator.is_main_process):
            sample = dataset[index]
            labels = predicted(model, dataset, sample, accelerator)
            own.append(_count(index, sample, labels, dataset))
            if keep:
                keep(sample, labels, own[-1])
    found += _of_all_processes(own, accelerator)
    return Evaluation(classes=tuple(dataset.classes), pictures=tuple(sorted(found, key=lambda picture: picture.index)))


def predicted(model: ccnet.CCNet, dataset: SampleDataset, sample: Sample, accelerator: Accelerator) -> np.ndarray:
    """Return the labels (H, W) that `model` gives a `sample` of `dataset` when it is evaluated."""
    with accelerator.autocast():
        labels: np.ndarray = task_of(dataset).predict(model, sample)
        return labels


def _count(index: int, sample: Sample, labels: np.ndarray, dataset: SampleDataset) -> PictureCounts:
    classes, ignored = len(dataset.classes), dataset.ignore_index
    return count_picture(index, sample["id"], sample["label"], labels, classes=classes, ignore_index=ignored)


def _of_all_processes(pictures: Sequence[PictureCounts], accelerator: Accelerator) -> list[PictureCounts]:
    lines = gather_texts([picture.to_line() for picture in pictures], accelerator)
    return [PictureCounts.from_line(line) for line in lines]
