"""The training loss: cross-entropy of both heads at label size, and the class weights it uses."""

import torch
from torch import Tensor

import ccnet_core as ccnet
from ccnet_train.datasets import SampleDataset
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator, own_errors, sum_over_processes
from ccnet_train.progress import bar
from ccnet_train.recipe import LossSection


def build_criterion(section: LossSection, dataset: SampleDataset, accelerator: Accelerator) -> ccnet.CrossEntropy:
    """Return the pixel loss that `section` describes, for the classes of the training split `dataset`."""
    return ccnet.CrossEntropy(
        ignore_index=dataset.ignore_index,
        class_weights=class_weights(section, dataset, accelerator),
        average=section.average,
    ).to(accelerator.device)


def training_loss(
    network: ccnet.CCNet, output: ccnet.CCNetOutput, labels: Tensor, criterion: ccnet.CrossEntropy, auxiliary: float
) -> Tensor:
    """Return the loss of the main head plus `auxiliary` times that of the auxiliary head, a scalar.

    `labels` (B, H, W) int64; both logits are upsampled to H x W first.
    """
    size = (labels.shape[1], labels.shape[2])
    loss: Tensor = criterion(network.resize_logits(output.logits, size), labels)
    if output.auxiliary_logits is not None:
        loss = loss + auxiliary * criterion(network.resize_logits(output.auxiliary_logits, size), labels)
    return loss


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
