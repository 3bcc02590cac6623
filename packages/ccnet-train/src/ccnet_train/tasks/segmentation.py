"""Pictures with one class per pixel."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ccnet_core as ccnet
from ccnet_train.errors import TrainError
from ccnet_train.recipe import ModelSection, Recipe
from ccnet_train.tasks.interface import Measurement

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset
    from ccnet_train.evaluation import Evaluation
    from ccnet_train.launch import Accelerator
    from ccnet_train.losses import Objective
    from ccnet_train.positions import Batch


class Segmentation:
    """Samples with an `image` (3, H, W).

    The rooms that do the work know the tasks, so they are imported where they are used.
    """

    score, score_name = "miou", "mIoU"

    def refuse(self, recipe: Recipe, dataset: "SampleDataset") -> None:
        """Refuse class weights that do not belong to the classes."""
        from ccnet_train.losses import check_class_weights

        check_class_weights(recipe.loss, dataset)

    def build(self, recipe: Recipe, dataset: "SampleDataset") -> ccnet.CCNet:
        """Return the network."""
        from ccnet_train.network import build_network

        return build_network(recipe, dataset)

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

    def collate(self, samples: "Sequence[Sample]") -> "Batch":
        """Stack pictures and labels."""
        from ccnet_train.positions import collate

        return collate(samples)

    def to_device(self, batch: "Batch", device: torch.device, *, channels_last: bool) -> tuple[Tensor, Tensor]:
        """Return images as they are, and labels (B, H, W) int64."""
        # Of a clip's five axes there is no such form; the network makes pictures of its frames.
        form = torch.channels_last if channels_last and batch.images.ndim == 4 else torch.preserve_format
        images = batch.images.to(device, non_blocking=True, memory_format=form)
        return images, batch.labels.to(device, non_blocking=True).long()

    def objective(self, recipe: Recipe, dataset: "SampleDataset", accelerator: "Accelerator") -> "Objective":
        """Return the loss of the recipe's section `loss`, its class weights counted if need be."""
        from ccnet_train.losses import build_objective

        return build_objective(recipe.loss, dataset, accelerator)

    def memory(
        self, network: ccnet.CCNet, recipe: Recipe, dataset: "SampleDataset", sample: "Sample", pictures: int
    ) -> str:
        """Return the bytes, found by taking a step without numbers."""
        from ccnet_train.memory import memory_in_words

        return memory_in_words(network, recipe, dataset, sample["image"].shape, pictures)

    def evaluate(
        self, network: ccnet.CCNet, dataset: "SampleDataset", accelerator: "Accelerator", *, show: bool
    ) -> "Evaluation":
        """Count the confusion of every picture."""
        from ccnet_train.evaluate import evaluate

        found = evaluate(network, dataset, accelerator, show=show)
        if not found.has_truth:
            raise TrainError("No pixel of the validation split has a class, so there is nothing to measure.")
        return found

    def keep(
        self,
        folder: Path,
        found: "Evaluation",
        network: ccnet.CCNet,
        dataset: "SampleDataset",
        *,
        recipe: Recipe,
        step: int,
        precision: str,
    ) -> None:
        """Write what was measured and the confusion of every picture."""
        from ccnet_train.evaluation_folder import write_evaluation
        from ccnet_train.subject import subject_of

        weights = f"step {step}"
        subject = subject_of(recipe, network, dataset, weights=weights, split="val", precision=precision)
        write_evaluation(folder, subject, found.pictures)

    def card(self, config: ccnet.CCNetConfig, *, datasets: Sequence[str], license: str | None) -> str:
        """Return core's card."""
        from ccnet_core.card import model_card

        return model_card(config, metrics={}, datasets=datasets, license=license)

    def preview(self, path: Path, network: ccnet.CCNet, dataset: "SampleDataset") -> NDArray[np.uint8]:
        """Write a row of picture, truth and prediction for a few pictures."""
        from ccnet_train.preview import write_preview

        return write_preview(path, network, dataset)

    def load(self, folder: Path) -> ccnet.CCNet:
        """Return the CCNet."""
        return ccnet.CCNet.from_pretrained(folder)

    def measure(self, asked: Measurement) -> "Evaluation":
        """Measure it, from where an earlier try stopped."""
        from ccnet_train.evaluate_weights import measure_labels

        return measure_labels(asked)

    def predict(self, model: ccnet.CCNet, sample: "Sample") -> NDArray[np.integer]:
        """Return the labels (H, W)."""
        return ccnet.predict(model, torch.tensor(sample["image"]), plan=model.config.inference).labels

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the image."""
        return sample["image"]
