"""The training loop: dataset -> batch -> model -> losses -> step -> checkpoint -> weights folder."""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ccnet_train import checkpoint
from ccnet_train.datasets import check_data
from ccnet_train.errors import TrainError
from ccnet_train.evaluate import evaluate
from ccnet_train.history import History, Record
from ccnet_train.launch import Accelerator, open_accelerator, share_buffers, sum_over_processes
from ccnet_train.losses import training_loss
from ccnet_train.optimise import learning_rate, set_learning_rate
from ccnet_train.positions import Batch, images_per_process
from ccnet_train.randomness import Purpose, forked_random_state, seed_torch
from ccnet_train.recipe import Recipe
from ccnet_train.report import write_preview
from ccnet_train.run import Run, batches, build_run
from ccnet_train.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a run ended with. `history` are the lines of metrics.jsonl; `best_miou` is from 0 to 1."""

    best_miou: float
    best_folder: Path
    last_folder: Path
    history: tuple[Record, ...]


def fit(recipe: Recipe, fresh: bool = False, quiet: bool = False) -> FitResult:
    """Train as `recipe` says, from where the run in its output folder stopped, and return what came out.

    `fresh` deletes that run first; `quiet` prints nothing. A finished run is returned as it is. Raises TrainError if
    the data, the launch or the run in the folder does not fit the recipe.
    """
    check_data(recipe.data)
    folder = RunFolder(Path(recipe.output).expanduser())
    with open_accelerator(folder.path) as accelerator, forked_random_state(accelerator.device):
        images_per_process(recipe.train.images_per_step, accelerator.num_processes)
        start = _enter(folder, recipe, accelerator, fresh)
        show = accelerator.is_main_process and not quiet
        history = History(folder.metrics, until=start, write=accelerator.is_main_process)
        if start < recipe.train.iterations:
            _train(recipe, folder, accelerator, history, start, show)
        elif show:
            print(f"{folder.path}: this run is finished ({start} steps). Start over with --fresh.")
        return _result(folder, history, show)


def _enter(folder: RunFolder, recipe: Recipe, accelerator: Accelerator, fresh: bool) -> int:
    """Make the folder ready, by the main process, and return the step to continue from."""
    found = None
    if not fresh:
        folder.refuse_other_recipe(recipe)
        found = checkpoint.latest(folder.checkpoints)
    start = found.step if found else 0
    everyone = sum_over_processes(torch.tensor([start]), accelerator)
    if int(everyone) != start * accelerator.num_processes:
        raise TrainError(
            f"The processes see different checkpoints in {folder.path}: it must be shared by all machines."
        )
    if accelerator.is_main_process:
        folder.start(recipe, fresh=fresh)
    accelerator.wait_for_everyone()
    return start


def _train(
    recipe: Recipe, folder: RunFolder, accelerator: Accelerator, history: History, start: int, show: bool
) -> None:
    run = build_run(recipe, folder, accelerator, history, start, show)
    with closing(run.progress):
        run.progress.say(
            f"{folder.path}: steps {start + 1} to {recipe.train.iterations}, processes: {accelerator.num_processes}, "
            f"device: {accelerator.device.type}, precision: {accelerator.mixed_precision}"
        )
        if start:
            accelerator.load_state(str(checkpoint.path_of(folder.checkpoints, start)))
        # Events that lie after the checkpoint are dropped, as in metrics.jsonl.
        accelerator.init_trackers(folder.events.name, init_kwargs={"tensorboard": {"purge_step": start + 1}})
        for step, batch in enumerate(batches(run, start), start + 1):
            _iterate(run, step, batch)


def _iterate(run: Run, step: int, batch: Batch) -> None:
    """Take the step that ends at `step`, then log, evaluate and save if it is time for it."""
    recipe = run.recipe
    loss = _step(run, step - 1, batch)
    run.progress.advance()
    if _due(step, recipe.log.every, recipe):
        _log(run, step, loss)
    if _due(step, recipe.evaluate.every, recipe):
        _evaluate(run, step)
    if _due(step, recipe.checkpoint.every, recipe):
        checkpoint.save(run.accelerator, run.folder.checkpoints, step, keep=recipe.checkpoint.keep)


def _due(step: int, every: int, recipe: Recipe) -> bool:
    return step % every == 0 or step == recipe.train.iterations


def _step(run: Run, iteration: int, batch: Batch) -> Tensor:
    """Take one step and return this process's loss."""
    accelerator, recipe = run.accelerator, run.recipe
    seed_torch(Purpose.STEP, recipe.seed, iteration, accelerator.process_index)
    set_learning_rate(run.optimiser, _lr(recipe, iteration))
    images = batch.images.to(accelerator.device, non_blocking=True)
    labels = batch.labels.to(accelerator.device, non_blocking=True).long()
    loss = training_loss(run.network, run.model(images), labels, run.criterion, recipe.loss.auxiliary_weight)
    run.optimiser.zero_grad()
    accelerator.backward(loss)
    run.optimiser.step()
    return loss.detach()


def _lr(recipe: Recipe, iteration: int) -> float:
    return learning_rate(
        iteration, iterations=recipe.train.iterations, lr=recipe.optimiser.lr, schedule=recipe.schedule
    )


def _log(run: Run, step: int, loss: Tensor) -> None:
    value = float(run.accelerator.reduce(loss, reduction="mean"))
    if not math.isfinite(value):
        raise TrainError(
            f"The loss is {value} at step {step}. Lower optimiser.lr or raise schedule.warmup_iterations, "
            "and start over with --fresh."
        )
    record = {"step": step, "loss": value, "lr": _lr(run.recipe, step - 1)}
    _record(run, record, "train")
    run.progress.losses(value, record["lr"])


def _evaluate(run: Run, step: int) -> None:
    """Evaluate after `step`, and write last/, preview.png and, if it is the best so far, best/."""
    share_buffers(run.network, run.accelerator)
    scores = evaluate(run.network, run.val, run.accelerator, show=run.progress.show)
    metrics = {"miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc}
    best = run.history.best
    is_best = best is None or scores.miou > best["miou"] or not run.folder.best.exists()
    _record(run, {"step": step, **metrics}, "val")
    run.progress.say(f"step {step}: mIoU {scores.miou:.4f}  mAcc {scores.macc:.4f}  aAcc {scores.aacc:.4f}")
    if run.accelerator.is_main_process:
        for folder in (run.folder.last, run.folder.best)[: 1 + is_best]:
            run.network.save_pretrained(folder, metrics=metrics, datasets=(run.recipe.data.name,))
        write_preview(run.folder.preview, run.network, run.val)
    run.accelerator.wait_for_everyone()
    run.progress.restart_clock()


def _record(run: Run, record: Record, section: str) -> None:
    run.history.add(record)
    values = {f"{section}/{key}": value for key, value in record.items() if key != "step"}
    run.accelerator.log(values, step=int(record["step"]))


def _result(folder: RunFolder, history: History, show: bool) -> FitResult:
    best = history.best
    if best is None:
        raise TrainError(f"{folder.metrics} holds no evaluation although the run is finished. Start over with --fresh.")
    if show:
        print(f"best  mIoU {best['miou']:.4f} at step {best['step']}: {folder.best}")
        print(f"last  {folder.last}")
    return FitResult(
        best_miou=best["miou"], best_folder=folder.best, last_folder=folder.last, history=tuple(history.records)
    )
