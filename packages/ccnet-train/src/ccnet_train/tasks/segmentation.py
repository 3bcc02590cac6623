"""Pictures with one class per pixel."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

import ccnet_core as ccnet
from ccnet_train.errors import TrainError
from ccnet_train.recipe import ModelSection

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset


class Segmentation:
    """Samples with an `image` (3, H, W)."""

    def require_fit(self, config: ccnet.CCNetConfig, section: ModelSection, dataset: "SampleDataset") -> None:  # noqa: ARG002
        """Refuse a network for clips."""
        frames = config.head.frames
        if frames > 1:
            raise TrainError(
                f"The network takes clips of {frames} frames, and the data are pictures. Let the dataset give clips, "
                f"with data.options.frames={frames} where it can, or set model.frames=1."
            )

    def training(self, augment: "Augmentation", config: ccnet.CCNetConfig) -> "Augmentation":  # noqa: ARG002
        """Return `augment` as it is."""
        return augment

    def predict(self, model: ccnet.CCNet, sample: "Sample") -> NDArray[np.integer]:
        """Return the labels (H, W)."""
        return ccnet.predict(model, torch.tensor(sample["image"]), plan=model.config.inference).labels

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the image."""
        return sample["image"]
