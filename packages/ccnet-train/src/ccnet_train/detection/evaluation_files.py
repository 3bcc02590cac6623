"""What an evaluation of a Mask R-CNN leaves: its subject, and truth and results in COCO's form."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ccnet_core import files, strict
from ccnet_train.datasets import SampleDataset
from ccnet_train.detection.average_precision import results_of, truth_of
from ccnet_train.detection.evaluation import InstanceEvaluation
from ccnet_train.evaluation_folder import BOXES_FILE, MASKS_FILE, SUBJECT_FILE, TRUTH_FILE
from ccnet_train.recipe import Recipe
from ccnet_train.subject import Subject, measured

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN

SETTINGS = ("min_size", "max_size", "score_threshold", "nms_threshold", "max_detections", "proposals")
"""What of a configuration changes the answer of the same weights."""


def instance_subject(
    recipe: Recipe, model: "MaskRCNN", dataset: SampleDataset, *, weights: str, split: str, precision: str
) -> Subject:
    """Return what is measured when `model` finds the objects of `dataset`."""
    subject = measured(recipe, model, dataset, weights=weights, split=split, precision=precision)
    settings = {key: value for key, value in model.config.to_mapping().items() if key in SETTINGS}
    return dataclasses.replace(subject, task="instances", settings=settings)


def write_results(folder: Path, subject: Subject, found: InstanceEvaluation) -> None:
    """Write what was measured, the truth, and the found boxes and masks, each a file that pycocotools reads."""
    pictures = found.pictures
    contents = {
        TRUTH_FILE: truth_of(pictures, found.classes),
        BOXES_FILE: results_of(pictures, "box"),
        MASKS_FILE: results_of(pictures, "mask"),
    }
    for name, content in contents.items():
        files.write_text(folder / name, json.dumps(content) + "\n")
    files.write_text(folder / SUBJECT_FILE, json.dumps(strict.to_mapping(subject), indent=1) + "\n")
