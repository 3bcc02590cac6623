"""The best and the worst pictures of an evaluation, as a report shows them."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ccnet_core import render
from ccnet_train.datasets import Sample, SampleDataset
from ccnet_train.evaluation import Evaluation
from ccnet_train.metrics import mean_of_present, share
from ccnet_train.tasks import task_of

EACH = 4
"""Pictures on either side."""

WIDEST, NARROWEST = 640, 240
"""Pixels: a wider picture is made smaller, one that is half as narrow is enlarged by a whole factor."""

OPACITY = 0.6

Predict = Callable[[Sample], NDArray[np.integer]]
"""From a sample to its labels (H, W), as they were evaluated."""


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """What a picture has of one class; `iou` and `share` of the labelled pixels are from 0 to 1."""

    label: int
    iou: float
    share: float


@dataclass(frozen=True, kw_only=True)
class ReportPicture:
    """A picture in four views, each the content of a JPEG, with its own scores."""

    name: str
    miou: float
    wrong: float
    classes: tuple[ClassScore, ...]
    picture: bytes
    prediction: bytes
    truth: bytes
    errors: bytes


def picture_mious(evaluation: Evaluation) -> NDArray[np.float64]:
    """Return (N,): the mean IoU of each picture over the classes in it, nan without any labelled pixel."""
    correct, true, predicted = evaluation.counts.swapaxes(0, 1)
    return mean_of_present(share(correct, true + predicted - correct))


def best_and_worst(mious: NDArray[np.float64], each: int = EACH) -> tuple[list[int], list[int]]:
    """Return the places of the best pictures, best first, and of the worst, worst first; none is in both."""
    order = np.argsort(mious, kind="stable")  # nan comes last
    order = order[: np.count_nonzero(~np.isnan(mious))]
    worst = order[: min(each, len(order) // 2)]
    best = order[len(worst) :][::-1][:each]
    return best.tolist(), worst.tolist()


def draw(evaluation: Evaluation, index: int, dataset: SampleDataset, predict: Predict) -> ReportPicture:
    """Return the picture at `index` with its prediction, which is made again."""
    sample = dataset[index]
    picture, truth = task_of(dataset).picture(sample).transpose(1, 2, 0), sample["label"]
    prediction = predict(sample)
    correct, true = evaluation.counts[index, :2]
    return ReportPicture(
        name=evaluation.ids[index],
        miou=float(picture_mious(evaluation)[index]),
        wrong=float(1 - correct.sum() / true.sum()),
        classes=_classes(evaluation.counts[index]),
        picture=_jpeg(picture),
        prediction=_jpeg(render.overlay(picture, prediction, dataset.palette, OPACITY)),
        truth=_jpeg(render.overlay(picture, truth, dataset.palette, OPACITY)),
        errors=_jpeg(render.error_map(picture, truth, prediction, ignore_index=dataset.ignore_index)),
    )


def _classes(counts: NDArray[np.int64]) -> tuple[ClassScore, ...]:
    """Return the classes that are in the truth or predicted, the largest first."""
    correct, true, predicted = counts
    either = true + predicted - correct
    present = sorted(np.flatnonzero(either).tolist(), key=lambda label: -true[label])
    whole = true.sum()
    return tuple(
        ClassScore(label=label, iou=correct[label] / either[label], share=true[label] / whole) for label in present
    )


def _jpeg(picture: render.Array) -> bytes:
    picture = render.enlarge(picture, max(1, NARROWEST // picture.shape[1]))
    image = Image.fromarray(picture)
    image.thumbnail((WIDEST, 2 * WIDEST))
    buffer = io.BytesIO()
    # Colours at full resolution: they are what is to be seen.
    image.save(buffer, format="JPEG", quality=80, subsampling=0, optimize=True)
    return buffer.getvalue()
