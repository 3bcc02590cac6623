"""What differs between tasks: which networks fit, what they are given, how they predict, what is shown."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

import ccnet_core as ccnet
from ccnet_train.recipe import ModelSection

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset


class Task(Protocol):
    """How samples of one kind are trained on and measured. A label is (H, W), one class per pixel, in all of them."""

    def require_fit(self, config: ccnet.CCNetConfig, section: ModelSection, dataset: "SampleDataset") -> None:
        """Raise TrainError if a network of this `config`, asked for by `section`, cannot be trained on `dataset`."""
        ...

    def training(self, augment: "Augmentation", config: ccnet.CCNetConfig) -> "Augmentation":
        """Return `augment` so that it gives what the network trains on."""
        ...

    def predict(self, model: ccnet.CCNet, sample: "Sample") -> NDArray[np.integer]:
        """Return the labels (H, W) of a sample, by the model's own plan."""
        ...

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the picture (3, H, W) that the label belongs to, for people to look at."""
        ...
