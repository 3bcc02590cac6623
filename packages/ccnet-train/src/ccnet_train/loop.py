"""The training loop: dataset -> batch -> model -> losses -> step -> checkpoint -> weights folder."""

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ccnet_train import checkpoint
from ccnet_train.errors import TrainError
from ccnet_train.evaluate import evaluate
from ccnet_train.history import History, Record
from ccnet_train.launch import Accelerator, open_accelerator, share_buffers, sum_over_processes
from ccnet_train.losses import build_criterion, training_loss
from ccnet_train.optimise import learning_rate, set_learning_rate
from ccnet_train.positions import Batch
from ccnet_train.randomness import Purpose, forked_random_state, seed_torch
from ccnet_train.recipe import Recipe
from ccnet_train.report import write_preview
from ccnet_train.run import Run, batches, build_run, load_parts
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
    the data, the launch or the run in the folder does not fit the recipe; nothing is deleted before that is known.
    """
    folder = RunFolder(Path(recipe.output).expanduser())
    with open_accelerator(folder.path) as accelerator, forked_random_state(accelerator.device):
        show = accelerator.is_main_process and not quiet
        start = 0 if fresh else _saved_step(folder, recipe, accelerator)
        if start < recipe.train.iterations:
            run = _open(recipe, folder, accelerator, fresh=fresh, start=start, show=show)
            _train(run)
            history = run.history
        else:
            history = _finished(folder, accelerator, start, show)
        return _result(folder, history, show)


def _saved_step(folder: RunFolder, recipe: Recipe, accelerator: Accelerator) -> int:
    """Return the step of the newest checkpoint in the folder, 0 without one."""
    folder.refuse_other_recipe(recipe)
    found = checkpoint.latest(folder.checkpoints)
    step = found.step if found else 0
    everyone = sum_over_processes(torch.tensor([step]), accelerator)
    if int(everyone) != step * accelerator.num_processes:
        raise TrainError(
            f"The processes see different checkpoints in {folder.path}: it must be shared by all machines."
        )
    return step


def _open(recipe: Recipe, folder: RunFolder, accelerator: Accelerator, *, fresh: bool, start: int, show: bool) -> Run:
    """Check everything that can be checked, then make the folder ready and return the run."""
    if fresh:
        folder.refuse_own_weights(recipe)
    parts = load_parts(recipe, accelerator.num_processes)
    if accelerator.is_main_process:
        folder.refuse_unwritable()
    criterion = build_criterion(recipe.loss, parts.train, accelerator)
    if accelerator.is_main_process:
        folder.start(recipe, fresh=fresh)
    accelerator.wait_for_everyone()
    return build_run(parts, criterion, folder, accelerator, start=start, show=show)


def _train(run: Run) -> None:
    recipe, folder, accelerator, start = run.recipe, run.folder, run.accelerator, run.start
    with closing(run.progress):
        run.progress.say(
            f"{folder.path}: steps {start + 1} to {recipe.train.iterations}, processes: {accelerator.num_processes}, "
            f"device: {accelerator.device.type}, precision: {accelerator.mixed_precision}"
        )
        if start:
            _refuse_missing_best(folder, run.history)
            checkpoint.load(accelerator, folder.checkpoints, start)
        # Events that lie after the checkpoint are dropped, as in metrics.jsonl.
        accelerator.init_trackers(folder.events.name, init_kwargs={"tensorboard": {"purge_step": start + 1}})
        for step, batch in enumerate(batches(run), start + 1):
            _iterate(run, step, batch)


def _iterate(run: Run, step: int, batch: Batch) -> None:
    """Take the step that ends at `step`, then log, evaluate and save if it is time for it."""
    recipe = run.recipe
    loss = _step(run, step - 1, batch)
    run.replaced.extend(batch.replaced)
    run.progress.advance()
    log, evaluates, saves = (
        _due(step, part.every, recipe) for part in (recipe.log, recipe.evaluate, recipe.checkpoint)
    )
    if not (log or evaluates or saves):
        return
    value = _finite(run, step, loss)
    if log:
        _log(run, step, value)
    if evaluates or saves:
        _save(run, step, evaluates)


def _save(run: Run, step: int, evaluates: bool) -> None:
    """Write a checkpoint and, with it, the weights of an evaluation.

    An evaluation is always saved: best/ then never holds weights of a step that a resumed run has not reached.
    """
    with checkpoint.saving(
        run.accelerator, run.folder.checkpoints, step, keep=run.recipe.checkpoint.keep
    ) as incomplete:
        if evaluates:
            _evaluate(run, step, incomplete)
    if run.accelerator.is_main_process:
        run.folder.settle()
    run.accelerator.wait_for_everyone()
    run.progress.restart_clock()


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


def _finite(run: Run, step: int, loss: Tensor) -> float:
    """Return the mean loss of all processes. Raises TrainError if it is no number that could be learned from."""
    value = float(run.accelerator.reduce(loss, reduction="mean"))
    if not math.isfinite(value):
        raise TrainError(
            f"The loss is {value} at step {step}. Lower optimiser.lr or raise schedule.warmup_iterations, "
            "and start over with --fresh."
        )
    return value


def _log(run: Run, step: int, loss: float) -> None:
    lr = _lr(run.recipe, step - 1)
    _record(run, step, "train", loss=loss, lr=lr, **_replaced(run, step))
    run.progress.losses(loss, lr)


def _replaced(run: Run, step: int) -> dict[str, float]:
    """Say and return how many damaged samples of all processes were replaced since the last logged step, if any."""
    count = int(sum_over_processes(torch.tensor([len(run.replaced)]), run.accelerator))
    if count == 0:
        return {}
    first = f", among them: {run.replaced[0]}" if run.replaced else ""
    run.progress.say(f"step {step}: {count} damaged samples replaced{first}")
    run.replaced.clear()
    return {"replaced": count}


def _evaluate(run: Run, step: int, target: Path) -> None:
    """Evaluate after `step`, and write preview.png and, into `target`, last/ and, if it is the best so far, best/."""
    share_buffers(run.network, run.accelerator)
    scores = evaluate(run.network, run.parts.val, run.accelerator, show=run.progress.show)
    metrics = {"miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc}
    best = run.history.best
    is_best = best is None or scores.miou > best["miou"]
    _record(run, step, "val", **metrics)
    run.progress.say(f"step {step}: mIoU {scores.miou:.4f}  mAcc {scores.macc:.4f}  aAcc {scores.aacc:.4f}")
    if run.accelerator.is_main_process:
        for folder in (run.folder.last, run.folder.best)[: 1 + is_best]:
            run.network.save_pretrained(target / folder.name, metrics=metrics, datasets=(run.recipe.name,))
        write_preview(run.folder.preview, run.network, run.parts.val)


def _record(run: Run, step: int, section: str, **values: float) -> None:
    run.history.add(step, **values)
    run.accelerator.log({f"{section}/{key}": value for key, value in values.items()}, step=step)


def _finished(folder: RunFolder, accelerator: Accelerator, steps: int, show: bool) -> History:
    if show:
        print(f"{folder.path}: this run is finished ({steps} steps). Start over with --fresh.")
    if accelerator.is_main_process:
        folder.settle()  # the kill may have come after the last checkpoint
    accelerator.wait_for_everyone()
    return History(folder.metrics, until=steps, write=False)


def _refuse_missing_best(folder: RunFolder, history: History) -> None:
    if history.best is not None and not folder.best.is_dir():
        raise TrainError(
            f"{folder.best} is missing, the weights of step {history.best['step']}. Start over with --fresh."
        )


def _result(folder: RunFolder, history: History, show: bool) -> FitResult:
    best = history.best
    if best is None:
        raise TrainError(f"{folder.metrics} holds no evaluation although the run is finished. Start over with --fresh.")
    _refuse_missing_best(folder, history)
    if show:
        print(f"best  mIoU {best['miou']:.4f} at step {best['step']}: {folder.best}")
        print(f"last  {folder.last}")
    return FitResult(
        best_miou=best["miou"], best_folder=folder.best, last_folder=folder.last, history=tuple(history.records)
    )
