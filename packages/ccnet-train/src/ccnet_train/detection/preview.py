"""preview.png: what a person sees of a Mask R-CNN."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ccnet_core import render
from ccnet_train.datasets import Sample, SampleDataset
from ccnet_train.detection.detections import Detections
from ccnet_train.detection.render import draw_detections, enlarge_detections
from ccnet_train.detection.samples import instances_of
from ccnet_train.preview import chosen
from ccnet_train.tasks import task_of

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN


def write_instances_preview(path: Path, model: "MaskRCNN", dataset: SampleDataset) -> render.Array:
    """Write truth | prediction of a few pictures, spread over `dataset`, as a PNG, and return it, (H, W, 3) uint8."""
    rows = []
    for sample in chosen(dataset):
        picture = np.ascontiguousarray(sample["image"].transpose(1, 2, 0))
        pair = (truth_of(sample), task_of(dataset).predict(model, sample))
        rows.append(render.beside([_drawn(picture, one, dataset) for one in pair]))
    preview = render.stack(rows)
    render.write_png(path, preview)
    return preview


def _drawn(picture: render.Array, objects: Detections, dataset: SampleDataset) -> render.Array:
    return draw_detections(*enlarge_detections(picture, objects), dataset.classes, dataset.palette)


def truth_of(sample: Sample) -> Detections:
    """Return the true objects of a sample, crowds left out, as if they had been found for certain."""
    objects = instances_of(sample)
    kept = ~objects["crowd"]
    return Detections(
        boxes=objects["boxes"][kept],
        classes=objects["classes"][kept],
        scores=np.ones(int(kept.sum()), np.float32),
        masks=objects["masks"][kept],
    )
