"""How often each class occurs, and the class weights made of it."""

import numpy as np
from numpy.typing import NDArray

from .sample import SegmentationDataset


def class_frequency(dataset: SegmentationDataset) -> NDArray[np.int64]:
    """Return the pixels of each class over the whole dataset, int64 (classes,). Ignored pixels count nowhere."""
    counts = np.zeros(256, np.int64)
    for index in range(len(dataset)):
        counts += np.bincount(dataset[index]["label"].ravel(), minlength=256)
    return counts[: len(dataset.classes)]


def class_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (share of the pixels)^-0.5 for each class, float64 (classes,); 0 for a class without pixels.

    `counts` is what `class_frequency` gives. A class with all pixels weighs 1, one with a hundredth of them 10.
    """
    share = counts / max(1, counts.sum())
    weights = np.zeros(len(counts))
    weights[share > 0] = share[share > 0] ** -0.5
    return weights
