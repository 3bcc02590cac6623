"""The parts of a run: data, network, optimiser, loss, records, built from a recipe."""

from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader

import ccnet_core as ccnet
from ccnet_train.datasets import Sample, SampleDataset, load_augmentation, load_split
from ccnet_train.history import History
from ccnet_train.launch import Accelerator
from ccnet_train.losses import build_criterion
from ccnet_train.optimise import build_optimiser
from ccnet_train.positions import PositionBatches, PositionDataset, loader
from ccnet_train.randomness import Purpose, seed_torch
from ccnet_train.recipe import Recipe
from ccnet_train.report import Progress
from ccnet_train.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a step, an evaluation or a checkpoint needs. `model` is what accelerate made of `network`."""

    recipe: Recipe
    folder: RunFolder
    accelerator: Accelerator
    network: ccnet.CCNet
    model: torch.nn.Module
    optimiser: torch.optim.Optimizer
    criterion: ccnet.CrossEntropy
    train: SampleDataset
    val: SampleDataset
    history: History
    progress: Progress


def build_run(
    recipe: Recipe, folder: RunFolder, accelerator: Accelerator, history: History, start: int, show: bool
) -> Run:
    """Return the parts of a run, ready for the step after `start`; `show` is whether this process draws the bar."""
    train, val = load_split(recipe.data, "train"), load_split(recipe.data, "val")
    network = build_network(recipe, train).train()
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # SyncBatchNorm exists on GPUs only
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    model, optimiser = accelerator.prepare(network, build_optimiser(network.parameters(), recipe.optimiser))
    return Run(
        recipe=recipe,
        folder=folder,
        accelerator=accelerator,
        network=accelerator.unwrap_model(model),
        model=model,
        optimiser=optimiser,
        criterion=build_criterion(recipe.loss, train, accelerator),
        train=train,
        val=val,
        history=history,
        progress=Progress(
            start=start,
            total=recipe.train.iterations,
            images_per_step=recipe.train.images_per_step,
            show=show,
        ),
    )


def build_network(recipe: Recipe, dataset: SampleDataset) -> ccnet.CCNet:
    """Return the recipe's network for the classes of `dataset`, its new weights drawn from the recipe's seed."""
    seed_torch(Purpose.WEIGHTS, recipe.seed)
    classes, palette = dataset.classes, dataset.palette
    if recipe.model.weights is not None:
        return ccnet.CCNet.from_pretrained(recipe.model.weights, classes=classes, palette=palette)
    return ccnet.CCNet.from_config(
        str(recipe.model.name), classes=classes, palette=palette, recurrence=recipe.model.recurrence
    )


def batches(run: Run, start: int) -> "DataLoader[Sample]":
    """Return this process's batches of iterations `start` to the last, a :class:`Batch` each."""
    recipe, accelerator = run.recipe, run.accelerator
    augment = load_augmentation(recipe.data, recipe.augment)
    positions = PositionBatches(
        start=start,
        stop=recipe.train.iterations,
        images_per_step=recipe.train.images_per_step,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    dataset = PositionDataset(run.train, augment, recipe.seed)
    return loader(dataset, positions, workers=recipe.data.workers, pin=accelerator.device.type == "cuda")
