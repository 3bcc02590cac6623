"""How often each class occurs, and the class weights made of it."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .layouts.pairs import PairDataset
from .sample import Instances, SegmentationDataset
from .workers import every_sample

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """`pixels` of each class, and the number of `pictures` that hold at least one of them; both int64 (classes,).

    Ignored pixels count nowhere. Of instances each mask counts whole, also where masks overlap; crowds do not count.
    """

    pixels: Counts
    pictures: Counts

    @property
    def share(self) -> NDArray[np.float64]:
        """The part of all counted pixels that each class has, float64 (classes,), 0 where there are none."""
        return self.pixels / max(1, int(self.pixels.sum()))

    @property
    def weights(self) -> NDArray[np.float64]:
        """Share^-0.5, float64 (classes,): 1 for a class with all pixels, 10 for a hundredth of them, 0 for none."""
        weights = np.zeros(len(self.pixels))
        np.power(self.share, -0.5, where=self.pixels > 0, out=weights)
        return weights


def class_frequency(dataset: SegmentationDataset, workers: int | None = 0) -> Frequency:
    """Count the classes over the whole dataset in `workers` processes; see `every_sample`.

    Where pictures and labels are files, only the labels are decoded. Raises DataError for the first damaged sample.
    """
    pixels, pictures = np.zeros((2, len(dataset.classes)), np.int64)
    for counts in every_sample(dataset, _count, workers, "stats"):
        pixels += counts
        pictures += counts > 0
    return Frequency(pixels=pixels, pictures=pictures)


def _count(dataset: SegmentationDataset, index: int) -> Counts:
    count = len(dataset.classes)
    if dataset.task == "instances":
        return _mask_counts(cast(Instances, dataset[index]), count)
    label = dataset.label(index) if isinstance(dataset, PairDataset) else dataset[index]["label"]
    return np.bincount(label.ravel(), minlength=256)[:count]


def _mask_counts(sample: Instances, count: int) -> Counts:
    single = ~sample["crowd"]
    areas = sample["masks"][single].sum((1, 2))
    return np.bincount(sample["classes"][single], areas, count).astype(np.int64)
