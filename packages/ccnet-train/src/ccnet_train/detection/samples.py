"""Samples with objects, as the network is trained on them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

import numpy as np
import torch

from ccnet_train.detection.detections import Target
from ccnet_train.positions import Batch

if TYPE_CHECKING:
    from ccnet_train.datasets import Sample


class Instances(TypedDict):
    """A picture with its N objects.

    `image` is uint8 (3, H, W), RGB, 0-255; `boxes` float32 (N, 4) are left, top, right, bottom in pixels; `masks` bool
    (N, H, W); `classes` int64 (N,); `crowd` bool (N,): regions of many objects. `areas` float64 (N,) are there where
    they are not those of the masks. `id` and `replaces` are as in :class:`ccnet_train.datasets.Sample`.
    """

    image: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: NotRequired[np.ndarray]
    id: str
    replaces: NotRequired[str]


def instances_of(sample: "Sample") -> Instances:
    """Return `sample`, of a dataset whose task is "instances", by the type that it then has."""
    return cast(Instances, sample)


def target_of(sample: Instances) -> Target:
    """Return the objects to learn from: no crowds, and none whose box has no width or height or whose mask is empty.

    What remains may be nothing: then all of the picture is background.
    """
    boxes = sample["boxes"]
    solid = (boxes[:, 2:] > boxes[:, :2]).all(1) & sample["masks"].any((1, 2))
    kept = solid & ~sample["crowd"]
    return {
        "boxes": torch.from_numpy(boxes[kept]),
        "classes": torch.from_numpy(sample["classes"][kept]),
        "masks": torch.from_numpy(sample["masks"][kept]),
    }


def collate_instances(samples: "Sequence[Sample]") -> Batch:
    """Return a micro-batch: a list of images, which may differ in size, and a list of targets."""
    instances = [instances_of(sample) for sample in samples]
    return Batch(
        images=[torch.from_numpy(sample["image"].copy()) for sample in instances],
        labels=[target_of(sample) for sample in instances],
        ids=tuple(sample["id"] for sample in instances),
        replaced=tuple(sample["replaces"] for sample in instances if "replaces" in sample),
    )
