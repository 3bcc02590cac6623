"""Pictures with objects: boxes, classes and masks, found by Mask R-CNN."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ccnet_train.recipe import ModelSection, Recipe
from ccnet_train.tasks.interface import Measurement

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset
    from ccnet_train.detection import Detections, DetectorConfig, MaskRCNN, Target
    from ccnet_train.detection.evaluation import InstanceEvaluation
    from ccnet_train.detection.objective import DetectionObjective
    from ccnet_train.launch import Accelerator
    from ccnet_train.positions import Batch


class Instances:
    """Samples with an `image` (3, H, W), `boxes`, `masks`, `classes` and `crowd`.

    The rooms that do the work need torchvision and know the tasks, so they are imported where they are used.
    """

    score, score_name = "mask_ap", "mask AP"

    def refuse(self, recipe: Recipe, dataset: "SampleDataset") -> None:  # noqa: ARG002
        """Refuse keys of networks that give a class to every pixel, and an installation without what objects need."""
        from ccnet_train.detection import require_torchvision
        from ccnet_train.detection.average_precision import require_pycocotools

        require_torchvision()
        require_pycocotools()
        from ccnet_train.detection.build import refuse_foreign_keys

        refuse_foreign_keys(recipe)

    def build(self, recipe: Recipe, dataset: "SampleDataset") -> "MaskRCNN":
        """Return the network."""
        from ccnet_train.detection.build import build_detector

        return build_detector(recipe, dataset)

    def require_fit(self, config: Any, section: ModelSection, dataset: "SampleDataset") -> None:
        """Refuse nothing: a network takes pictures of any size, and was built for the classes."""

    def training(self, augment: "Augmentation", config: Any) -> "Augmentation":  # noqa: ARG002
        """Return `augment` as it is."""
        return augment

    def collate(self, samples: "Sequence[Sample]") -> "Batch":
        """List pictures and targets."""
        from ccnet_train.detection.samples import collate_instances

        return collate_instances(samples)

    def to_device(
        self,
        batch: "Batch",
        device: torch.device,
        *,
        channels_last: bool,  # noqa: ARG002  refused
    ) -> tuple[list[torch.Tensor], list["Target"]]:
        """Return both lists there."""
        targets: Any = [{key: value.to(device, non_blocking=True) for key, value in t.items()} for t in batch.labels]
        return [image.to(device, non_blocking=True) for image in batch.images], targets

    def objective(self, recipe: Recipe, dataset: "SampleDataset", accelerator: "Accelerator") -> "DetectionObjective":  # noqa: ARG002
        """Return torchvision's five losses."""
        from ccnet_train.detection.objective import DetectionObjective

        return DetectionObjective()

    def memory(  # the others are what a network of segmentation needs
        self,
        network: "MaskRCNN",  # noqa: ARG002
        recipe: Recipe,  # noqa: ARG002
        dataset: "SampleDataset",  # noqa: ARG002
        sample: "Sample",  # noqa: ARG002
        pictures: int,
    ) -> str:
        """Say that it is not known."""
        return f"not estimated: it depends on the objects and on the sizes of {pictures} pictures"

    def evaluate(
        self, network: "MaskRCNN", dataset: "SampleDataset", accelerator: "Accelerator", *, show: bool
    ) -> "InstanceEvaluation":
        """Find the objects of every picture."""
        from ccnet_train.detection.evaluate import evaluate_instances
        from ccnet_train.errors import TrainError

        found = evaluate_instances(network, dataset, accelerator, show=show)
        if not found.has_truth:
            raise TrainError("No picture of the validation split has an object, so there is nothing to measure.")
        return found

    def keep(
        self,
        folder: Path,
        found: "InstanceEvaluation",
        network: "MaskRCNN",
        dataset: "SampleDataset",
        *,
        recipe: Recipe,
        step: int,
        precision: str,
    ) -> None:
        """Write what was measured, and truth and results in COCO's form."""
        from ccnet_train.detection.evaluation_files import instance_subject, write_results

        weights = f"step {step}"
        subject = instance_subject(recipe, network, dataset, weights=weights, split="val", precision=precision)
        write_results(folder, subject, found)

    def card(self, config: "DetectorConfig", *, datasets: Sequence[str], license: str | None) -> str:
        """Return the card of a Mask R-CNN."""
        from ccnet_train.detection.card import model_card

        return model_card(config, metrics={}, datasets=datasets, license=license)

    def preview(self, path: Path, network: "MaskRCNN", dataset: "SampleDataset") -> NDArray[np.uint8]:
        """Write a row of true and found objects for a few pictures."""
        from ccnet_train.detection.preview import write_instances_preview

        return write_instances_preview(path, network, dataset)

    def load(self, folder: Path) -> "MaskRCNN":
        """Return the Mask R-CNN."""
        from ccnet_train.detection import MaskRCNN

        network: MaskRCNN = MaskRCNN.from_pretrained(folder)
        return network

    def measure(self, asked: Measurement) -> "InstanceEvaluation":
        """Measure it, from where an earlier try stopped."""
        from ccnet_train.detection.measure import measure_instances

        return measure_instances(asked)

    def predict(self, model: "MaskRCNN", sample: "Sample") -> "Detections":
        """Return the objects that the model finds."""
        from ccnet_train.detection.predict import predict_instances

        found: Detections = predict_instances(model, torch.tensor(sample["image"]))
        return found

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the image."""
        return sample["image"]
