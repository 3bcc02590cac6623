"""Evaluation of a Mask R-CNN: every picture of a split, shared among processes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ccnet_train.datasets import SampleDataset
from ccnet_train.detection.coco_records import PictureObjects, picture_objects
from ccnet_train.detection.evaluation import InstanceEvaluation
from ccnet_train.detection.samples import instances_of
from ccnet_train.launch import Accelerator
from ccnet_train.picture_shares import measure_pictures
from ccnet_train.tasks import task_of

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN

Keep = Callable[[PictureObjects], None]
"""Told of each picture as soon as its objects are found."""


def evaluate_instances(
    model: "MaskRCNN",
    dataset: SampleDataset,
    accelerator: Accelerator,
    *,
    known: Sequence[PictureObjects] = (),
    keep: Keep | None = None,
    show: bool = True,
) -> InstanceEvaluation:
    """Find the objects of all of `dataset`, each process taking its share of the pictures.

    The pictures that are `known` to any process are left out. Every process returns the same.
    """

    def measure(index: int) -> PictureObjects:
        sample = dataset[index]
        with accelerator.autocast():
            detections = task_of(dataset).predict(model, sample)
        objects = picture_objects(index, instances_of(sample), detections)
        if keep:
            keep(objects)
        return objects

    pictures = measure_pictures(len(dataset), measure, PictureObjects.from_line, accelerator, known=known, show=show)
    return InstanceEvaluation(classes=tuple(dataset.classes), pictures=pictures)
