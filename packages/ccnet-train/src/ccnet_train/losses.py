"""The loss of a step, exact however its pictures are shared, and the class weights it uses."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

import ccnet_core as ccnet
from ccnet_train.datasets import SampleDataset
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator, own_errors, sum_over_processes
from ccnet_train.progress import bar
from ccnet_train.recipe import CategoryConsistentSection, LossSection, OhemSection


class Objective(nn.Module):
    """What a step minimises, as the sum over its micro-batches, in all processes.

    The main head's cross-entropy, or with `loss.ohem` that of its hard pixels, plus `loss.auxiliary_weight` times the
    auxiliary head's cross-entropy, or that of a first prediction, plus `loss.edge_weight` times that of the edges, plus
    the category consistent loss. Cross-entropy is divided by what the whole step counts, so that sharing does not
    change it. OHEM and the category consistent loss look at all pixels of a batch at once: they are computed for each
    micro-batch, or with `loss.per_picture` for each picture, and averaged with the number of pictures as weight. Only
    the latter does not depend on the sharing; a picture without a counted pixel adds 0 there, and OHEM's `min_kept` is
    per picture by both rules.
    """

    parts: tuple[str, ...] = ()
    """Only the sum is logged."""

    def __init__(self, section: LossSection, *, num_classes: int, ignore_index: int, weights: Tensor | None) -> None:
        super().__init__()
        self.section = section
        self.pixels = ccnet.CrossEntropy(ignore_index=ignore_index, class_weights=weights, average=section.average)
        self.edges = None if section.edge_weight is None else ccnet.EdgeCrossEntropy()
        self.hard_pixels = None if section.ohem is None else _ohem(section, section.ohem, ignore_index, weights)
        self.consistency = None
        if section.category_consistent is not None:
            self.consistency = _consistency(section.category_consistent, num_classes, ignore_index)

    def divisors(self, labels: Tensor) -> Tensor:
        """Return what `labels` (B, H, W), of any integer type, add to the divisors of the step: (1,) float64.

        (3,) if there is a loss of edges. float32 on Apple's GPUs, which have nothing wider.
        """
        wide = torch.float32 if labels.device.type == "mps" else torch.float64
        pixels = self.pixels.divisor(labels).to(wide)[None]
        if self.edges is None:
            return pixels
        return torch.cat([pixels, self.edges.divisor(self._edges(labels)).to(wide)])

    def losses(
        self,
        network: ccnet.CCNet,
        forward: Callable[[Tensor], ccnet.CCNetOutput],
        images: Tensor,
        labels: Tensor,
        divisors: Tensor,
        share: float,
    ) -> Tensor:
        """Return the loss of `images` as :meth:`forward` does, as a vector (1,)."""
        return cast(Tensor, self(network, forward(images), labels, divisors, share))[None]

    def forward(
        self, network: ccnet.CCNet, output: ccnet.CCNetOutput, labels: Tensor, divisors: Tensor, share: float
    ) -> Tensor:
        """Return the part of the step's loss, a scalar, that is due to `output` and its `labels` (B, H, W) int64.

        Logits are upsampled to H x W first. `divisors` is the sum of :meth:`divisors` over the step, `share` the part
        of its pictures that is here.
        """
        size = (labels.shape[1], labels.shape[2])
        logits = network.resize_logits(output.logits, size)
        loss: Tensor
        if self.hard_pixels is None:
            loss = self.pixels(logits, labels, divisors[0])
        else:
            loss = share * self._averaged(self.hard_pixels, logits, labels)
        if output.auxiliary_logits is not None:
            auxiliary = network.resize_logits(output.auxiliary_logits, size)
            loss = loss + self.section.auxiliary_weight * self.pixels(auxiliary, labels, divisors[0])
        if self.edges is not None and self.section.edge_weight is not None:
            edges = network.resize_logits(cast(Tensor, output.edge_logits), size)
            loss = loss + self.section.edge_weight * self.edges(edges, self._edges(labels), divisors[1:])
        if self.consistency is not None and self.section.category_consistent is not None:
            features = cast(Tensor, output.consistency_features)
            weight = share * self.section.category_consistent.weight
            loss = loss + weight * self._averaged(self.consistency, features, labels)
        return loss

    def _edges(self, labels: Tensor) -> Tensor:
        return ccnet.edge_truth(labels, self.pixels.ignore_index)

    def _averaged(self, loss: nn.Module, values: Tensor, labels: Tensor) -> Tensor:
        """Return `loss` of the micro-batch, or the mean of that of its pictures."""
        if not self.section.per_picture:
            return cast(Tensor, loss(values, labels))
        pairs = zip(values.unsqueeze(1), labels.unsqueeze(1), strict=True)
        return torch.stack([loss(value, label) for value, label in pairs]).mean()


def build_objective(section: LossSection, dataset: SampleDataset, accelerator: Accelerator) -> Objective:
    """Return the loss that `section` describes, for the classes of the training split `dataset`."""
    return Objective(
        section,
        num_classes=len(dataset.classes),
        ignore_index=dataset.ignore_index,
        weights=class_weights(section, dataset, accelerator),
    ).to(accelerator.device)


def _ohem(section: LossSection, ohem: OhemSection, ignore_index: int, weights: Tensor | None) -> ccnet.OhemCrossEntropy:
    return ccnet.OhemCrossEntropy(
        ohem.threshold,
        ohem.min_kept,
        ohem.rule,
        ignore_index=ignore_index,
        class_weights=weights,
        average=section.average if ohem.rule == "mmseg" else None,
    )


def _consistency(
    section: CategoryConsistentSection, num_classes: int, ignore_index: int
) -> ccnet.CategoryConsistentLoss:
    return ccnet.CategoryConsistentLoss(
        variance_margin=section.variance_margin,
        distance_margin=section.distance_margin,
        num_classes=num_classes,
        ignore_index=ignore_index,
    )


def class_weights(section: LossSection, dataset: SampleDataset, accelerator: Accelerator) -> Tensor | None:
    """Return one weight per class (K,) float32, or None for equal weights."""
    if section.class_weights is None:
        return None
    if section.class_weights == "inverse_sqrt_frequency":
        return inverse_sqrt_frequency(count_pixels(dataset, accelerator))
    check_class_weights(section, dataset)
    return torch.tensor(section.class_weights)


def check_class_weights(section: LossSection, dataset: SampleDataset) -> None:
    """Raise TrainError if `section` lists another number of class weights than `dataset` has classes."""
    listed = section.class_weights
    if isinstance(listed, tuple) and len(listed) != len(dataset.classes):
        raise TrainError(
            f"loss.class_weights has {len(listed)} numbers, the dataset {len(dataset.classes)} classes: "
            f"{', '.join(dataset.classes)}. Give one number per class, in this order."
        )


def inverse_sqrt_frequency(counts: Tensor) -> Tensor:
    """Return frequency^-0.5 per class, scaled so that the mean weight over all counted pixels is 1.

    `counts` (K,) are pixels per class. A class without pixels gets 0: it has no frequency, and no pixel to weigh.
    """
    share = counts.double() / counts.sum()
    weights = torch.where(share > 0, share.clamp(min=1e-300) ** -0.5, 0.0)
    return (weights / (weights * share).sum()).float()


def count_pixels(dataset: SampleDataset, accelerator: Accelerator) -> Tensor:
    """Return the pixels per class (K,) int64 of `dataset`, each process counting its share of the pictures."""
    counts = torch.zeros(len(dataset.classes), dtype=torch.int64)
    indices = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    with own_errors(accelerator):
        for index in bar(indices, "count classes", show=accelerator.is_main_process):
            counts += _pixels_of(dataset, index)
    return sum_over_processes(counts, accelerator)


def _pixels_of(dataset: SampleDataset, index: int) -> Tensor:
    sample, classes = dataset[index], len(dataset.classes)
    labels = torch.tensor(sample["label"]).flatten()
    labels = labels[labels != dataset.ignore_index]
    if labels.numel() and int(labels.max()) >= classes:
        raise TrainError(f"{sample['id']}: class {int(labels.max())} is out of range, expected 0 to {classes - 1}.")
    return torch.bincount(labels, minlength=classes)
