"""The oracle is average precision by its definition, written out for boxes that overlap wholly or not at all."""

import json
import sys

import numpy as np
import pytest

from ccnet_train import TrainError
from ccnet_train.detection import Detections
from ccnet_train.detection.average_precision import (
    average_precision,
    require_pycocotools,
    results_of,
    truth_of,
)
from ccnet_train.detection.coco_records import picture_objects

pytestmark = pytest.mark.detection

PLACES = [(left, top, left + 8, top + 6) for top in (2, 12) for left in (2, 14, 26)]


def picture(index, true, found, scores=(), *, crowd=()):
    """Give a picture with objects at some of six `PLACES` that share no pixel; both are (place, class)."""

    def drawn(objects):
        boxes = np.array([PLACES[place] for place, _ in objects], np.float32).reshape(-1, 4)
        masks = np.zeros((len(objects), 20, 36), bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = True
        return {"boxes": boxes, "masks": masks, "classes": np.array([label for _, label in objects], np.int64)}

    crowds = np.isin(np.arange(len(true)), crowd)
    sample = {"image": np.zeros((3, 20, 36), np.uint8), **drawn(true), "crowd": crowds, "id": str(index)}
    return picture_objects(index, sample, Detections(**drawn(found), scores=np.array(scores, np.float32)))


def precision_of(pictures, kind, classes=("a", "b")):
    return average_precision(truth_of(pictures, classes), results_of(pictures, kind), kind)


def by_definition(hits, objects):
    """Average over 101 recalls of the highest precision at that recall or above; `hits` are by falling score."""
    found = np.cumsum(hits)
    recall, precision = found / objects, found / np.arange(1, len(hits) + 1)
    return np.mean([precision[recall >= level - 1e-12].max(initial=0) for level in np.linspace(0, 1, 101)])


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_it_is_the_mean_over_classes_of_the_area_under_precision_and_recall(kind):
    pictures = [
        picture(0, [(0, 0), (1, 0), (2, 1)], [(0, 0), (3, 0), (2, 1)], (0.9, 0.8, 0.4)),
        picture(1, [(4, 0), (5, 1)], [(4, 0), (0, 1), (5, 1)], (0.7, 0.95, 0.3)),
        picture(2, [], [(1, 0)], (0.6,)),
    ]
    expected = [by_definition([1, 0, 1, 0], 3), by_definition([0, 1, 1], 2)]
    found = precision_of(pictures, kind)
    assert found.classes == pytest.approx(expected, abs=1e-12)
    assert found.totals["ap"] == pytest.approx(np.mean(expected), abs=1e-12)
    for name in ("ap50", "ap75", "ap_small"):
        assert found.totals[name] == pytest.approx(found.totals["ap"], abs=1e-12)
    assert np.isnan([found.totals["ap_medium"], found.totals["ap_large"]]).all()


def test_no_detections_are_a_precision_of_zero():
    found = precision_of([picture(0, [(0, 0)], [])], "mask")
    assert (found.totals["ap"], found.classes[0]) == (0, 0)
    assert np.isnan(found.classes[1])


def test_without_objects_there_is_no_precision():
    for pictures in ([picture(0, [], [(0, 0)], (0.9,))], [picture(0, [], [])]):
        found = precision_of(pictures, "box")
        assert np.isnan([*found.totals.values(), *found.classes]).all()


def test_what_is_found_in_a_crowd_counts_neither_for_nor_against():
    found, crowd = [(0, 0), (1, 0)], picture(0, [(0, 0), (1, 0)], [(0, 0), (1, 0)], (0.5, 0.9), crowd=[1])
    assert precision_of([crowd], "box").totals["ap"] == pytest.approx(1)
    assert precision_of([picture(0, found[:1], found, (0.5, 0.9))], "box").totals["ap"] < 0.6


def test_the_results_are_those_that_pycocotools_reads_from_files(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = [picture(0, [(0, 0), (1, 1)], [(0, 0), (2, 1)], (0.9, 0.8))]
    (tmp_path / "truth.json").write_text(json.dumps(truth_of(pictures, ("a", "b"))))
    (tmp_path / "masks.json").write_text(json.dumps(results_of(pictures, "mask")))
    truth = COCO(tmp_path / "truth.json")
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "masks.json")), "segm")
    evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    assert evaluation.stats[0] == precision_of(pictures, "mask").totals["ap"] == pytest.approx(0.5)


def test_a_missing_pycocotools_is_named(monkeypatch):
    require_pycocotools()
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(TrainError, match=r'python -m pip install "ccnet-train\[detection\]"'):
        require_pycocotools()
