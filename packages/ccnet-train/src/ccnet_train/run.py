"""The parts of a run, built from a recipe: first what reads only, then what trains."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

import ccnet_core as ccnet
from ccnet_train.datasets import SampleDataset, check_data, load_augmentation, load_split
from ccnet_train.history import History
from ccnet_train.launch import Accelerator, own_errors
from ccnet_train.losses import check_class_weights
from ccnet_train.optimise import build_optimiser
from ccnet_train.positions import Batch, PositionBatches, PositionDataset, images_per_process, loader
from ccnet_train.progress import Progress
from ccnet_train.randomness import Purpose, seed_torch
from ccnet_train.recipe import Recipe
from ccnet_train.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a recipe asks for. `samples` are the augmented pictures of `train` by position; `share` is per process."""

    recipe: Recipe
    share: int
    samples: PositionDataset
    train: SampleDataset
    val: SampleDataset
    network: ccnet.CCNet


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a step, an evaluation or a checkpoint needs. `model` is what accelerate made of `network`.

    `replaced` collects the errors of damaged samples since the last logged step.
    """

    parts: Parts
    start: int
    folder: RunFolder
    accelerator: Accelerator
    network: ccnet.CCNet
    model: torch.nn.Module
    optimiser: torch.optim.Optimizer
    criterion: ccnet.CrossEntropy
    history: History
    progress: Progress
    replaced: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.parts.recipe


def load_parts(recipe: Recipe, processes: int) -> Parts:
    """Load and check what `recipe` asks for, one picture of each split included; writes nothing.

    Raises TrainError or CCNetError for what would stop the run later.
    """
    share = images_per_process(recipe.train.images_per_step, processes)
    check_data(recipe.data)
    train, val = load_split(recipe.data, "train"), load_split(recipe.data, "val")
    augment = load_augmentation(recipe.data, recipe.augment, train)
    check_class_weights(recipe.loss, train)
    samples = PositionDataset(train, augment, recipe.seed)
    for first in (samples, val):
        first[0]
    return Parts(
        recipe=recipe, share=share, samples=samples, train=train, val=val, network=build_network(recipe, train)
    )


def build_run(
    parts: Parts, criterion: ccnet.CrossEntropy, folder: RunFolder, accelerator: Accelerator, *, start: int, show: bool
) -> Run:
    """Return the parts made ready for the step after `start`; `show` is whether this process draws the bar."""
    recipe, network = parts.recipe, parts.network.train()
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # SyncBatchNorm exists on GPUs only
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    model, optimiser = accelerator.prepare(network, build_optimiser(network.parameters(), recipe.optimiser))
    return Run(
        parts=parts,
        start=start,
        folder=folder,
        accelerator=accelerator,
        network=accelerator.unwrap_model(model),
        model=model,
        optimiser=optimiser,
        criterion=criterion,
        history=History(folder.metrics, until=start, write=accelerator.is_main_process),
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


def batches(run: Run) -> Iterator[Batch]:
    """Give this process's batches, from the step after the start to the last."""
    recipe, accelerator = run.recipe, run.accelerator
    positions = PositionBatches(
        start=run.start,
        stop=recipe.train.iterations,
        images_per_step=recipe.train.images_per_step,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    pin = accelerator.device.type == "cuda"
    with own_errors(accelerator):
        yield from loader(run.parts.samples, positions, workers=recipe.data.workers, pin=pin)
