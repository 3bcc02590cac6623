"""Evaluation of a Mask R-CNN: every picture of a split, shared among processes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ccnet_train.datasets import SampleDataset
from ccnet_train.detection.coco_records import PictureObjects, picture_objects
from ccnet_train.detection.evaluation import InstanceEvaluation
from ccnet_train.detection.samples import instances_of
from ccnet_train.launch import Accelerator, gather_texts, own_errors
from ccnet_train.progress import bar
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
    found = _of_all_processes(known, accelerator)
    counted = {picture.index for picture in found}
    left = [index for index in range(len(dataset)) if index not in counted]
    own = []
    with own_errors(accelerator):
        share = left[accelerator.process_index :: accelerator.num_processes]
        for index in bar(share, "evaluate", show=show and accelerator.is_main_process):
            sample = dataset[index]
            with accelerator.autocast():
                detections = task_of(dataset).predict(model, sample)
            own.append(picture_objects(index, instances_of(sample), detections))
            if keep:
                keep(own[-1])
    found += _of_all_processes(own, accelerator)
    pictures = tuple(sorted(found, key=lambda picture: picture.index))
    return InstanceEvaluation(classes=tuple(dataset.classes), pictures=pictures)


def _of_all_processes(pictures: Sequence[PictureObjects], accelerator: Accelerator) -> list[PictureObjects]:
    lines = gather_texts([picture.to_line() for picture in pictures], accelerator)
    return [PictureObjects.from_line(line) for line in lines]
