"""The parts of a run, built from a recipe: first what reads only, then what trains."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch

from ccnet_train.datasets import SampleDataset, check_data, load_augmentation, load_split
from ccnet_train.history import History
from ccnet_train.launch import AcceleratedOptimizer, Accelerator, own_errors
from ccnet_train.model_card import check_card
from ccnet_train.network import train_mode, training_form
from ccnet_train.optimise import build_optimiser
from ccnet_train.positions import Batch, PositionBatches, PositionDataset, images_per_process, loader
from ccnet_train.progress import Progress
from ccnet_train.recipe import Recipe
from ccnet_train.run_folder import RunFolder
from ccnet_train.sharding import choose_units
from ccnet_train.tally import Tally
from ccnet_train.tasks import task_of
from ccnet_train.tasks.interface import Network, Objective, Task
from ccnet_train.weight_average import WeightAverage


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a recipe asks for. `samples` are the augmented pictures of `train` by position.

    `share` are the pictures of a micro-batch of one process.
    """

    recipe: Recipe
    task: Task[Any, Any]
    share: int
    samples: PositionDataset
    train: SampleDataset
    val: SampleDataset
    network: Network


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a step, an evaluation or a checkpoint needs.

    `model` is what accelerate made of `network`, `forward` what a step calls: `model`, or a compiled form of it.
    """

    parts: Parts
    start: int
    folder: RunFolder
    accelerator: Accelerator
    network: Network
    model: torch.nn.Module
    forward: torch.nn.Module
    optimiser: AcceleratedOptimizer
    average: WeightAverage | None
    objective: Objective
    history: History
    progress: Progress
    tally: Tally = field(default_factory=Tally)

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.parts.recipe

    @property
    def task(self) -> Task[Any, Any]:
        """What the samples are for."""
        return self.parts.task


def load_parts(recipe: Recipe, processes: int) -> Parts:
    """Load and check what `recipe` asks for, one picture of each split included; writes nothing.

    Raises TrainError or CCNetError for what would stop the run later.
    """
    share = images_per_process(recipe.train.images_per_step, processes, recipe.train.accumulation)
    check_data(recipe.data)
    train, val = load_split(recipe.data, "train"), load_split(recipe.data, "val")
    task, augment = task_of(train), load_augmentation(recipe.data, recipe.augment, train)
    task.refuse(recipe, train)
    network = task.build(recipe, train)
    samples = PositionDataset(train, task.training(augment, network.config), recipe.seed)
    for first in (samples, val):
        first[0]
    task.require_fit(network.config, recipe.model, train)
    check_card(recipe, network.config, task)
    return Parts(recipe=recipe, task=task, share=share, samples=samples, train=train, val=val, network=network)


def build_run(
    parts: Parts, objective: Objective, folder: RunFolder, accelerator: Accelerator, *, start: int, show: bool
) -> Run:
    """Return the parts made ready for the step after `start`; `show` is whether this process draws the bar."""
    recipe, train = parts.recipe, parts.recipe.train
    network = _synchronised(parts.network, recipe, accelerator)
    train_mode(network, recipe)
    choose_units(network, accelerator)
    model, optimiser = accelerator.prepare(network, build_optimiser(network, recipe.optimiser))
    network = accelerator.unwrap_model(model)
    return Run(
        parts=parts,
        start=start,
        folder=folder,
        accelerator=accelerator,
        network=network,
        model=model,
        forward=training_form(model, recipe),
        optimiser=optimiser,
        average=None if train.weight_average is None else WeightAverage(network, train.weight_average),
        objective=objective,
        history=History(folder.metrics, until=start, write=accelerator.is_main_process),
        progress=Progress(
            start=start,
            total=train.iterations,
            images_per_step=train.images_per_step,
            device=accelerator.device,
            show=show,
        ),
    )


def _synchronised(network: Network, recipe: Recipe, accelerator: Accelerator) -> Network:
    """Return `network`, its batch norms over all processes if there are several, on GPUs: on CPUs there are none."""
    if not recipe.train.sync_batch_norm or accelerator.num_processes == 1 or accelerator.device.type != "cuda":
        return network
    converted: Network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return converted


def batches(run: Run) -> Iterator[list[Batch]]:
    """Give this process's micro-batches of each step, from the one after the start to the last."""
    train, accelerator = run.recipe.train, run.accelerator
    positions = PositionBatches(
        start=run.start,
        stop=train.iterations,
        images_per_step=train.images_per_step,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
        accumulation=train.accumulation,
    )
    pin = accelerator.device.type == "cuda"
    with own_errors(accelerator):
        loaded = loader(run.parts.samples, positions, run.task.collate, workers=run.recipe.data.workers, pin=pin)
        while step := list(islice(loaded, train.accumulation)):
            yield step
