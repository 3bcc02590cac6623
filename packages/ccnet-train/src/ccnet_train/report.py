"""report.html: an evaluation on one page that needs nothing else."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import isnan
from pathlib import Path

import numpy as np

from ccnet_core import files
from ccnet_core.config import Colour, InferencePlan
from ccnet_core.text import one_line
from ccnet_train.bootstrap import Interval, Intervals, intervals
from ccnet_train.confusion_picture import MOST_WITH_NUMBERS, confusion_png
from ccnet_train.curves import PANELS, curve, curves_png
from ccnet_train.datasets import SampleDataset
from ccnet_train.evaluation import Evaluation
from ccnet_train.history import Record, read_records
from ccnet_train.metrics import Scores
from ccnet_train.report_pictures import Predict, ReportPicture, best_and_worst, draw, picture_mious
from ccnet_train.run_folder import RunFolder
from ccnet_train.subject import Subject

VERSIONS = ("ccnet-train", "ccnet-core", "torch")


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A score of the whole split; from 0 to 1."""

    name: str
    meaning: str
    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class: IoU with interval, accuracy, share of the labelled pixels, from 0 to 1; how many pictures show it."""

    name: str
    colour: Colour
    iou: float
    interval: Interval
    accuracy: float
    share: float
    pictures: int


def write_report(
    path: Path,
    evaluation: Evaluation,
    subject: Subject,
    *,
    dataset: SampleDataset,
    predict: Predict,
    run: RunFolder | None = None,
) -> None:
    """Write the report of `evaluation`, which measured `subject`, to `path` as HTML.

    `dataset` and `predict` are those of the evaluation: its best and worst pictures are predicted again. `run` is the
    run that the weights are from, if there is one.
    """
    sides = best_and_worst(picture_mious(evaluation))
    best, worst = ([draw(evaluation, index, dataset, predict) for index in side] for side in sides)
    records = read_records(run.metrics) if run else []
    files.write_text(path, page(evaluation, subject, best=best, worst=worst, records=records))


def page(
    evaluation: Evaluation,
    subject: Subject,
    *,
    best: Sequence[ReportPicture] = (),
    worst: Sequence[ReportPicture] = (),
    records: Sequence[Record] = (),
) -> str:
    """Return the HTML. All that comes from outside is shown as the text it is."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # here, as only a report needs it

    environment = Environment(
        loader=PackageLoader("ccnet_train"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "line": one_line,
        "data": _data_uri,
        "swatch": _swatch,
        "range": _range,
    }
    environment.tests["absent"] = isnan
    spread = intervals(evaluation.counts)
    return environment.get_template("report.html").render(
        title=f"Evaluation of {subject.weights}",
        facts=facts(subject),
        scores=score_rows(evaluation.scores, spread),
        classes=class_rows(evaluation, spread, subject.palette),
        confusion=confusion_png(evaluation.confusion, evaluation.classes),
        confusion_is_large=len(evaluation.classes) > MOST_WITH_NUMBERS,
        curves={PANELS[key]: curves_png({"": records}, (key,)) for key in PANELS if curve(records, key)[0]},
        sides={"Best pictures": best, "Worst pictures": worst},
    )


def facts(subject: Subject) -> dict[str, str]:
    """Return what was measured, how, when and by what, in words."""
    plain = {key: value for key, value in subject.options.items() if isinstance(value, str | int | float)}
    options = "".join(f", {key}={value}" for key, value in plain.items())
    return {
        "Weights": f"{subject.weights} ({subject.model}; SHA-256 of the tensors {subject.digest[:12]})",
        "Data": f"{subject.data}, split {subject.split}, {subject.pictures} pictures{options}",
        "Inference": plan_text(subject.plan),
        "Precision": "float32" if subject.precision == "no" else subject.precision,
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Versions": ", ".join(f"{name} {version(name)}" for name in VERSIONS),
    }


def plan_text(plan: InferencePlan) -> str:
    """Return how a picture becomes labels, in words. Sizes are height x width."""
    parts = ["whole picture"]
    if plan.mode == "slide" and plan.crop and plan.stride:
        (height, width), (down, right) = plan.crop, plan.stride
        parts = [f"sliding window {height} x {width}, step {down} x {right}"]
    if plan.mode == "fit" and plan.crop:
        height, width = plan.crop
        parts = [f"whole picture fitted into {height} x {width}"]
    if plan.resize == "plan" and plan.base_scale:
        parts.append(f"fitted to {max(plan.base_scale)} x {min(plan.base_scale)} first")
    if plan.scales != (1.0,):
        parts.append(f"scales {', '.join(map(str, plan.scales))}")
    if plan.flip:
        parts.append("mirror images")
    return "; ".join(parts)


def score_rows(scores: Scores, spread: Intervals) -> list[ScoreRow]:
    """Return the three scores of the whole split."""
    return [
        ScoreRow(name="mIoU", meaning="mean IoU of the classes", value=scores.miou, interval=spread.miou),
        ScoreRow(name="mAcc", meaning="mean accuracy of the classes", value=scores.macc, interval=spread.macc),
        ScoreRow(name="aAcc", meaning="share of correct pixels", value=scores.aacc, interval=spread.aacc),
    ]


def class_rows(evaluation: Evaluation, spread: Intervals, palette: Sequence[Colour]) -> list[ClassRow]:
    """Return a row for each class, in the order of the dataset."""
    scores = evaluation.scores
    true = evaluation.counts[:, 1]
    shares = true.sum(0) / max(true.sum(), 1)
    return [
        ClassRow(
            name=name,
            colour=palette[label],
            iou=scores.iou[label],
            interval=spread.iou[label],
            accuracy=scores.accuracy[label],
            share=float(shares[label]),
            pictures=int(np.count_nonzero(true[:, label])),
        )
        for label, name in enumerate(evaluation.classes)
    ]


def _percent(share: float, digits: int = 1) -> str:
    return "-" if isnan(share) else f"{100 * share:.{digits}f}"


def _range(interval: Interval, digits: int = 1) -> str:
    return "-" if isnan(interval.low) else f"{_percent(interval.low, digits)} to {_percent(interval.high, digits)}"


def _data_uri(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _swatch(colour: Colour) -> str:
    red, green, blue = colour
    return f"--colour: rgb({red}, {green}, {blue})"
