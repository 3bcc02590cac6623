"""report.html: an evaluation on one page that needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import isnan
from pathlib import Path

from ccnet_core import files
from ccnet_core.config import Colour
from ccnet_core.text import one_line
from ccnet_train.bootstrap import Interval, intervals
from ccnet_train.confusion_picture import MOST_WITH_NUMBERS, confusion_png
from ccnet_train.curves import PANELS, curves_png
from ccnet_train.datasets import SampleDataset
from ccnet_train.evaluation import Evaluation
from ccnet_train.history import Record, read_records
from ccnet_train.report_pictures import Predict, ReportPicture, best_and_worst, draw, picture_mious
from ccnet_train.run_folder import RunFolder

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
    """A class: its IoU with interval, accuracy, and share of the labelled pixels, from 0 to 1."""

    name: str
    colour: Colour
    iou: float
    interval: Interval
    accuracy: float
    share: float


def write_report(
    path: Path,
    evaluation: Evaluation,
    *,
    title: str,
    facts: Mapping[str, str],
    dataset: SampleDataset,
    predict: Predict,
    run_folder: Path | None = None,
) -> None:
    """Write the report of `evaluation` to `path` as HTML.

    `facts` say what was measured, name and value. `dataset` and `predict` are those of the evaluation: its best and
    worst pictures are predicted again. `run_folder` is that of the run the weights are from, if there is one.
    """
    sides = best_and_worst(picture_mious(evaluation))
    best, worst = ([draw(evaluation, index, dataset, predict) for index in side] for side in sides)
    records = read_records(RunFolder(run_folder).metrics) if run_folder else []
    files.write_text(path, page(evaluation, title, facts, dataset.palette, best=best, worst=worst, records=records))


def page(
    evaluation: Evaluation,
    title: str,
    facts: Mapping[str, str],
    palette: Sequence[Colour],
    *,
    best: Sequence[ReportPicture] = (),
    worst: Sequence[ReportPicture] = (),
    records: Sequence[Record] = (),
) -> str:
    """Return the HTML; every argument is shown as the text it is."""
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
        title=title,
        facts={**facts, **_today()},
        pictures=len(evaluation.ids),
        scores=[
            ScoreRow(name=name, meaning=meaning, value=value, interval=interval)
            for name, meaning, value, interval in (
                ("mIoU", "mean IoU of the classes", evaluation.scores.miou, spread.miou),
                ("mAcc", "mean accuracy of the classes", evaluation.scores.macc, spread.macc),
                ("aAcc", "share of correct pixels", evaluation.scores.aacc, spread.aacc),
            )
        ],
        classes=class_rows(evaluation, palette),
        confusion=confusion_png(evaluation.confusion, evaluation.classes),
        confusion_is_large=len(evaluation.classes) > MOST_WITH_NUMBERS,
        curves={PANELS[key]: curves_png({"": records}, (key,)) for key in PANELS if any(key in r for r in records)},
        sides={"Best pictures": best, "Worst pictures": worst},
    )


def class_rows(evaluation: Evaluation, palette: Sequence[Colour]) -> list[ClassRow]:
    """Return a row for each class, in the order of the dataset."""
    true = evaluation.confusion.sum(1)
    columns = (
        evaluation.classes,
        palette,
        evaluation.scores.iou,
        intervals(evaluation.counts).iou,
        evaluation.scores.accuracy,
        true / max(true.sum(), 1),
    )
    return [
        ClassRow(name=name, colour=colour, iou=iou, interval=interval, accuracy=accuracy, share=float(share))
        for name, colour, iou, interval, accuracy, share in zip(*columns, strict=True)
    ]


def _today() -> dict[str, str]:
    return {
        "Date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Versions": ", ".join(f"{name} {version(name)}" for name in VERSIONS),
    }


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
