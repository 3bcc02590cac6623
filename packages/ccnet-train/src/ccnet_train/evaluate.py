"""Evaluation: every picture of a split through `ccnet.predict`, into one confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import torch

import ccnet_core as ccnet
from ccnet_train.datasets import SampleDataset, check_data, load_split
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator, open_accelerator, own_errors, sum_over_processes
from ccnet_train.metrics import ConfusionMatrix, Scores
from ccnet_train.progress import bar
from ccnet_train.recipe import Recipe


def evaluate(model: ccnet.CCNet, dataset: SampleDataset, accelerator: Accelerator, *, show: bool = True) -> Scores:
    """Return the scores of `model` on `dataset`, each process predicting its share of the pictures.

    `model` is the network itself, not wrapped for several processes. Every process returns the same scores. Raises
    TrainError if no pixel of the split has a class.
    """
    matrix = ConfusionMatrix(len(dataset.classes), dataset.ignore_index)
    indices = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    with own_errors(accelerator):
        for index in bar(indices, "evaluate", show=show and accelerator.is_main_process):
            sample = dataset[index]
            with accelerator.autocast():
                result = ccnet.predict(model, torch.tensor(sample["image"]))
            matrix.add(sample["label"], result.labels, where=sample["id"])
    matrix.counts = sum_over_processes(torch.from_numpy(matrix.counts), accelerator).numpy()
    if not matrix.counts.any():
        raise TrainError("No pixel of the validation split has a class, so there is nothing to measure.")
    return matrix.scores()


def evaluate_weights(recipe: Recipe, weights: str | Path) -> tuple[Scores, Sequence[str]]:
    """Return the scores of a weights folder or Hub id on the recipe's validation split, and the names of its classes.

    Raises TrainError if the weights have other classes than the split.
    """
    check_data(recipe.data)
    dataset = load_split(recipe.data, "val")
    model = ccnet.CCNet.from_pretrained(weights)
    different = class_differences(model.config.classes, dataset.classes)
    if different:
        raise TrainError(
            f"{weights} has other classes than the dataset {recipe.data.name!r}: {different}. "
            "Give weights that were trained on this dataset."
        )
    with open_accelerator() as accelerator:
        return evaluate(model.to(accelerator.device), dataset, accelerator), dataset.classes


def class_differences(weights: Sequence[str], dataset: Sequence[str]) -> str:
    """Return in words how the class names of weights and of a dataset differ, "" if they are equal."""
    if len(weights) != len(dataset):
        return f"{len(weights)} classes instead of {len(dataset)}"
    pairs = enumerate(zip(weights, dataset, strict=True))
    different = [f"class {index} is {has!r} instead of {needs!r}" for index, (has, needs) in pairs if has != needs]
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more


def table(scores: Scores, classes: Sequence[str]) -> str:
    """Return the scores in percent: three totals, then IoU and accuracy per class ("-" where a class is absent)."""
    width = max(map(len, classes))
    lines = [f"mIoU {_percent(scores.miou)}  mAcc {_percent(scores.macc)}  aAcc {_percent(scores.aacc)}", ""]
    lines.append(f"{'class':{width}}    IoU    Acc")
    for name, iou, accuracy in zip(classes, scores.iou, scores.accuracy, strict=True):
        lines.append(f"{name:{width}} {_percent(iou):>6} {_percent(accuracy):>6}")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "-" if share != share else f"{100 * share:.2f}"
