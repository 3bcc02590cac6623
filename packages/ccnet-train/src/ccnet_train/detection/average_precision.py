"""Average precision of boxes and of masks, computed by COCO's own program, pycocotools."""

import copy
import importlib.util
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ccnet_train.detection.coco_records import Annotation, PictureObjects
from ccnet_train.errors import TrainError

Kind = Literal["box", "mask"]
FIELDS: dict[Kind, str] = {"box": "bbox", "mask": "segmentation"}
"""What of a found object is compared with the truth."""

IOU_TYPES: dict[Kind, str] = {"box": "bbox", "mask": "segm"}

TOTALS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first six numbers of COCOeval: over ten thresholds of overlap, at 0.5, at 0.75, and by the area of objects."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Average precisions from 0 to 1, nan where there is no true object: `totals` by :data:`TOTALS`, one per class."""

    totals: dict[str, float]
    classes: tuple[float, ...]


def require_pycocotools() -> None:
    """Raise TrainError, with what to install, unless pycocotools is here."""
    if importlib.util.find_spec("pycocotools") is None:
        raise TrainError('Objects are measured by pycocotools: python -m pip install "ccnet-train[detection]"')


def truth_of(pictures: Sequence[PictureObjects], classes: Sequence[str]) -> dict[str, Any]:
    """Return the true objects as COCO's annotation file holds them; a picture's number is its place, from 1."""
    objects = [(picture.index + 1, annotation) for picture in pictures for annotation in picture.truth]
    return {
        "images": [
            {"id": picture.index + 1, "file_name": picture.id, "height": picture.size[0], "width": picture.size[1]}
            for picture in pictures
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
        "annotations": [  # from 1: the number 0 stands for "no object" in pycocotools
            {"id": number, "image_id": image, **annotation} for number, (image, annotation) in enumerate(objects, 1)
        ],
    }


def results_of(pictures: Sequence[PictureObjects], kind: Kind) -> list[Annotation]:
    """Return the found boxes, or masks, as COCO's result file holds them."""
    keys = ("category_id", FIELDS[kind], "score")
    return [
        {"image_id": picture.index + 1, **{key: found[key] for key in keys}}
        for picture in pictures
        for found in picture.found
    ]


def average_precision(truth: dict[str, Any], results: Sequence[Annotation], kind: Kind) -> Precision:
    """Compare `results` with `truth`, as :func:`results_of` and :func:`truth_of` make them."""
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*_loaded(truth, results), IOU_TYPES[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = dict(zip(TOTALS, map(_known, evaluation.stats[: len(TOTALS)]), strict=True))
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # overlap, recall, class; any area, 100 objects a picture
    return Precision(totals=numbers, classes=tuple(_mean(precision[:, :, k]) for k in range(precision.shape[2])))


def _loaded(truth: dict[str, Any], results: Sequence[Annotation]) -> tuple[Any, Any]:
    from pycocotools.coco import COCO

    true, found = COCO(), COCO()
    true.dataset = truth
    true.createIndex()
    if results:
        return true, true.loadRes(copy.deepcopy(list(results)))  # which writes into them
    found.dataset = {**truth, "annotations": []}  # loadRes fails at a list without a result
    found.createIndex()
    return true, found


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def _known(value: float) -> float:
    return float("nan") if value == -1 else float(value)
