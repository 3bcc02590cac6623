"""Weights measured on a split of a recipe's data, into a folder, from where an earlier try stopped."""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ccnet_core as ccnet
from ccnet_core import files
from ccnet_core.weights_folder import CONFIG_FILE
from ccnet_train import evaluation_folder
from ccnet_train.bootstrap import Interval, intervals
from ccnet_train.confusion_picture import confusion_png
from ccnet_train.datasets import Sample, SampleDataset, check_data, load_split
from ccnet_train.errors import TrainError
from ccnet_train.evaluate import evaluate, predicted
from ccnet_train.evaluation import Evaluation, PictureCounts
from ccnet_train.evaluation_folder import CONFUSION_FILE, LABELS_FOLDER, METRICS_FILE, REPORT_FILE, P
from ccnet_train.label_files import LabelFiles, label_files
from ccnet_train.launch import Accelerator, open_accelerator, own_errors
from ccnet_train.recipe import Recipe
from ccnet_train.report import write_report
from ccnet_train.run_folder import run_of
from ccnet_train.subject import Subject, plan_by, refuse_other_classes, subject_of
from ccnet_train.tasks import task_of
from ccnet_train.tasks.interface import Found, Measurement


def evaluate_weights(
    recipe: Recipe,
    weights: str | Path,
    *,
    out: Path,
    split: str = "val",
    tta: bool = False,
    labels: str | None = None,
    report: bool = False,
    fresh: bool = False,
    show: bool = True,
) -> Found:
    """Measure a weights folder or Hub id on a `split` of the recipe's data, as its section `evaluate` says.

    Where there is a class per pixel, an :class:`ccnet_train.evaluation.Evaluation` comes out. `tta` adds the six
    published scales and mirror images. Into `out` go the counts of each picture, `metrics.json`, `confusion.png` and,
    with `labels`, one of :data:`ccnet_train.label_files.FORMATS`, a PNG of each prediction, with `report` also
    `report.html`. What was stopped there goes on; `fresh` starts over. Raises TrainError if the weights
    have other classes than the split, if `out` holds another evaluation or weights, and if no pixel has a class
    although no labels are asked for.
    """
    if (out / CONFIG_FILE).exists():
        raise TrainError(f"{out}: a weights folder, which holds the evaluation of its own run. Give another --out.")
    check_data(recipe.data, splits=(split,))
    asked = Measurement(
        recipe=recipe,
        weights=weights,
        dataset=load_split(recipe.data, split),
        split=split,
        out=out,
        tta=tta,
        labels=labels,
        report=report,
        fresh=fresh,
        show=show,
    )
    found: Found = task_of(asked.dataset).measure(asked)
    return found


def measure_labels(asked: Measurement) -> Evaluation:
    """Measure a network that gives a class to every pixel; see :func:`evaluate_weights`."""
    recipe, weights, dataset, split, out = asked.recipe, asked.weights, asked.dataset, asked.split, asked.out
    labels = asked.labels
    model = ccnet.CCNet.from_pretrained(weights)
    refuse_other_classes(model, dataset, weights=str(weights), data=recipe.data.name)
    plan_by(recipe.evaluate, model, tta=asked.tta)
    writer = label_files(labels, out / LABELS_FOLDER, dataset.classes, dataset.palette) if labels else None
    with open_accelerator() as accelerator:
        precision = accelerator.mixed_precision
        subject = subject_of(recipe, model, dataset, weights=str(weights), split=split, precision=precision)
        subject = dataclasses.replace(subject, labels=labels)
        known = start(out, subject, accelerator, PictureCounts.from_line, fresh=asked.fresh)
        journal = _Journal(evaluation_folder.part_of(out, accelerator.process_index), writer)
        model.to(accelerator.device)
        found = evaluate(model, dataset, accelerator, known=known, keep=journal.keep, show=asked.show)
        if not found.has_truth and not labels:
            raise TrainError(
                f"No pixel of the split {split!r} has a class, so there is nothing to measure. To get its predictions "
                "give --labels."
            )
        if accelerator.is_main_process:
            with own_errors(accelerator):
                _finish(out, subject, found)
                if asked.report and found.has_truth:
                    _report(out, subject, found, model, dataset, accelerator)
    return found


@dataclass(frozen=True)
class _Journal:
    """Adds each picture to the file of this process, once its label file is there."""

    path: Path
    writer: LabelFiles | None

    def keep(self, sample: Sample, labels: np.ndarray, counts: PictureCounts) -> None:
        if self.writer:
            self.writer.write(sample["id"], labels)
        evaluation_folder.append(self.path, counts)


def start(out: Path, subject: Subject, accelerator: Accelerator, read: Callable[[str], P], *, fresh: bool) -> list[P]:
    """Make `out` ready; return, in the main process, the pictures that are counted already."""
    known: list[P] = []
    if accelerator.is_main_process:
        with own_errors(accelerator):
            if fresh:
                evaluation_folder.clear(out)
            known = evaluation_folder.continue_evaluation(out, subject, read)
    accelerator.wait_for_everyone()
    return known


def _finish(out: Path, subject: Subject, found: Evaluation) -> None:
    evaluation_folder.write_evaluation(out, subject, found.pictures)
    evaluation_folder.remove_parts(out)
    if found.has_truth:
        files.write_text(out / METRICS_FILE, json.dumps(metrics(found), indent=1) + "\n")
        files.write_bytes(out / CONFUSION_FILE, confusion_png(found.confusion, found.classes))


def _report(
    out: Path, subject: Subject, found: Evaluation, model: ccnet.CCNet, dataset: SampleDataset, accelerator: Accelerator
) -> None:
    def predict(sample: Sample) -> np.ndarray:
        return predicted(model, dataset, sample, accelerator)

    run = run_of(Path(subject.weights).expanduser().parent)
    write_report(out / REPORT_FILE, found, subject, dataset=dataset, predict=predict, run=run)


def metrics(found: Evaluation) -> dict[str, Any]:
    """Return the scores as plain data for JSON, from 0 to 1, null for what is absent.

    `intervals` are 95 %, [low, high], over pictures; see :mod:`ccnet_train.bootstrap`.
    """
    scores, spread = found.scores, intervals(found.counts)
    totals = ("miou", "macc", "aacc")
    rows = zip(found.classes, scores.iou, spread.iou, scores.accuracy, found.confusion.sum(1).tolist(), strict=True)
    return {
        **{name: _number(getattr(scores, name)) for name in totals},
        "intervals": {name: _pair(getattr(spread, name)) for name in totals},
        "pictures": len(found.pictures),
        "classes": {
            name: {"iou": _number(iou), "iou_interval": _pair(around), "accuracy": _number(accuracy), "pixels": pixels}
            for name, iou, around, accuracy, pixels in rows
        },
    }


def _pair(interval: Interval) -> list[float | None]:
    return [_number(interval.low), _number(interval.high)]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
