"""A Mask R-CNN measured on a split of a recipe's data, into a folder, from where an earlier try stopped."""

import json
from functools import partial
from typing import Any

from ccnet_core import files
from ccnet_train import evaluation_folder
from ccnet_train.detection import MaskRCNN
from ccnet_train.detection.average_precision import require_pycocotools
from ccnet_train.detection.coco_records import PictureObjects
from ccnet_train.detection.evaluate import evaluate_instances
from ccnet_train.detection.evaluation import KINDS, InstanceEvaluation
from ccnet_train.detection.evaluation_files import instance_subject, write_results
from ccnet_train.errors import TrainError
from ccnet_train.evaluate_weights import start
from ccnet_train.evaluation_folder import METRICS_FILE
from ccnet_train.launch import open_accelerator, own_errors
from ccnet_train.subject import Subject, refuse_other_classes
from ccnet_train.tasks.interface import Measurement


def measure_instances(asked: Measurement) -> InstanceEvaluation:
    """Measure a weights folder or Hub id; see :func:`ccnet_train.evaluate_weights.evaluate_weights`.

    Into the folder go `metrics.json`, and truth and results in COCO's form. Raises TrainError for what objects have
    not: `tta`, `labels` and `report`.
    """
    for option in ("tta", "labels", "report"):
        if getattr(asked, option):
            raise TrainError(f"--{option} is for networks that give a class to every pixel. Leave it out for objects.")
    require_pycocotools()
    model, out = MaskRCNN.from_pretrained(asked.weights), asked.out
    refuse_other_classes(model, asked.dataset, weights=str(asked.weights), data=asked.recipe.data.name)
    with open_accelerator() as accelerator:
        subject = instance_subject(
            asked.recipe,
            model,
            asked.dataset,
            weights=str(asked.weights),
            split=asked.split,
            precision=accelerator.mixed_precision,
        )
        known = start(out, subject, accelerator, PictureObjects.from_line, fresh=asked.fresh)
        keep = partial(evaluation_folder.append, evaluation_folder.part_of(out, accelerator.process_index))
        model.to(accelerator.device)
        found = evaluate_instances(model, asked.dataset, accelerator, known=known, keep=keep, show=asked.show)
        if accelerator.is_main_process:
            with own_errors(accelerator):
                _finish(asked, subject, found)
    return found


def _finish(asked: Measurement, subject: Subject, found: InstanceEvaluation) -> None:
    evaluation_folder.write_evaluation(asked.out, subject, found.pictures)
    evaluation_folder.remove_parts(asked.out)
    write_results(asked.out, subject, found)
    if found.has_truth:
        files.write_text(asked.out / METRICS_FILE, json.dumps(metrics(found), indent=1) + "\n")


def metrics(found: InstanceEvaluation) -> dict[str, Any]:
    """Return the scores as plain data for JSON, from 0 to 1, null for what is absent."""
    totals = {f"{kind}_{name}": value for kind in KINDS for name, value in found.precision[kind].totals.items()}
    rows = zip(found.classes, *(found.precision[kind].classes for kind in KINDS), strict=True)
    return {
        **{name: _number(value) for name, value in totals.items()},
        "pictures": len(found.pictures),
        "classes": {name: {"box_ap": _number(box), "mask_ap": _number(mask)} for name, box, mask in rows},
    }


def _number(value: float) -> float | None:
    return value if value == value else None
