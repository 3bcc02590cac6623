"""Clips of a video, of which the last frame is labelled."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import ccnet_core as ccnet
from ccnet_train.errors import TrainError
from ccnet_train.recipe import ModelSection
from ccnet_train.tasks.segmentation import Segmentation

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset


class Video(Segmentation):
    """Samples with an `image` (T, 3, H, W).

    A network takes the last frames of a clip, as many as its `head.frames`. So networks of several lengths, that of
    pictures among them, can be compared on the same labelled frames.
    """

    def require_fit(self, config: ccnet.CCNetConfig, section: ModelSection, dataset: "SampleDataset") -> None:
        """Refuse clips that are too short, and a network for pictures unless it is asked for in so many words."""
        length, frames = len(dataset[0]["image"]), config.head.frames
        if frames > length:
            raise TrainError(
                f"The network takes clips of {frames} frames, and those of the data have {length}. "
                f"Set data.options.frames={frames} or model.frames={length}."
            )
        if frames == 1 and section.frames != 1:
            raise TrainError(
                f"The data are clips of {length} frames, and the network takes pictures. Set model.frames={length}, or "
                "model.frames=1 to train on the last frames alone."
            )

    def training(self, augment: "Augmentation", config: ccnet.CCNetConfig) -> "Augmentation":
        """Return `augment` with no more frames than the network takes."""
        return partial(_augment, augment, config.head.frames)

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the last frame."""
        picture: NDArray[np.uint8] = sample["image"][-1]
        return picture


def _augment(augment: "Augmentation", frames: int, sample: "Sample", generator: np.random.Generator) -> "Sample":
    """Change all frames of a clip alike, then keep the last ones; of one frame make a picture."""
    changed = augment(sample, generator)
    image = changed["image"][-frames:]
    return {**changed, "image": image[0] if frames == 1 else image}
