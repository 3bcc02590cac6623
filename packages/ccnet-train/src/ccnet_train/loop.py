"""The training loop: dataset -> batch -> model -> losses -> step -> checkpoint -> weights folder."""

import math
import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from ccnet_train import checkpoint, kept_weights
from ccnet_train.checkpoint import Checkpoint
from ccnet_train.errors import Terminated, TrainError
from ccnet_train.faults import in_plain_words
from ccnet_train.history import History, Record
from ccnet_train.launch import Accelerator, open_accelerator, sum_over_processes
from ccnet_train.positions import Batch
from ccnet_train.preemption import StopRequest, listening
from ccnet_train.randomness import forked_random_state
from ccnet_train.recipe import Recipe
from ccnet_train.run import Run, batches, build_run, load_parts
from ccnet_train.run_folder import RunFolder
from ccnet_train.saving import all_replaced, load, record, save
from ccnet_train.step import Outcome, lr_at, take_step
from ccnet_train.summary import summary
from ccnet_train.trackers import check_trackers, start_trackers


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a run ended with. `history` are the lines of metrics.jsonl, `best` is the evaluation that best/ is of."""

    best: Record
    best_folder: Path
    last_folder: Path
    history: tuple[Record, ...]

    @property
    def best_miou(self) -> float:
        """The highest mIoU of all evaluations, where there is a class per pixel."""
        return self.best["miou"]


def fit(recipe: Recipe, fresh: bool = False, quiet: bool = False, *, allow_change: bool = False) -> FitResult:
    """Train as `recipe` says, from where the run in its output folder stopped, and return what came out.

    `fresh` deletes that run first; `allow_change` continues it although the recipe changed; `quiet` prints nothing. A
    finished run is returned as it is. Raises TrainError if the data, the launch or the run in the folder does not fit
    the recipe; nothing is deleted before that is known. Asked to stop by SIGTERM or Ctrl-C, it saves after the current
    step and raises Terminated or KeyboardInterrupt; the second Ctrl-C raises at once.
    """
    folder = RunFolder(Path(recipe.output).expanduser())
    stopped_by, result, trained = None, None, None
    check_trackers(recipe.log.trackers)
    with (
        open_accelerator(folder.events, recipe.log.trackers) as accelerator,
        forked_random_state(accelerator.device),
        in_plain_words(folder.path, accelerator.num_processes),
    ):
        show = accelerator.is_main_process and not quiet
        folder.refuse_unfit(recipe, fresh=fresh, allow_change=allow_change)
        for change in folder.changes(recipe) if allow_change and show else ():
            print(f"--allow-change: {change}")
        resumed = None if fresh else _resumed(folder, accelerator, show=show)
        if resumed is None or resumed.step < recipe.train.iterations:
            run = _open(recipe, folder, accelerator, fresh=fresh, resumed=resumed, show=show)
            stopped_by = _train(run, resumed)
            history = run.history
            trained = f"{run.progress.elapsed}, steps {run.start + 1} to {recipe.train.iterations}"
        else:
            history = _finished(folder, accelerator, resumed, show)
        if stopped_by is None:
            result = _result(folder, history)
            if show:
                print(summary(folder, result.best, trained))
    if result is None:
        raise KeyboardInterrupt if stopped_by == signal.SIGINT else Terminated
    return result


def _resumed(folder: RunFolder, accelerator: Accelerator, *, show: bool) -> Checkpoint | None:
    """Return the checkpoint to go on from, the same in all processes, None without one."""
    found, faults = checkpoint.latest_sound(folder.checkpoints) if accelerator.is_main_process else (None, [])
    if show and found:
        for fault in faults:
            print(f"{fault}: going back to step {found.step}")
    step = int(sum_over_processes(torch.tensor([found.step if found else 0]), accelerator))
    shared = Checkpoint(step, checkpoint.path_of(folder.checkpoints, step))
    sees = shared.path.is_dir() if step else checkpoint.latest(folder.checkpoints) is None
    if int(sum_over_processes(torch.tensor([int(sees)]), accelerator)) < accelerator.num_processes:
        raise TrainError(
            f"The processes see different checkpoints in {folder.path}: it must be shared by all machines."
        )
    return shared if step else None


def _open(
    recipe: Recipe,
    folder: RunFolder,
    accelerator: Accelerator,
    *,
    fresh: bool,
    resumed: Checkpoint | None,
    show: bool,
) -> Run:
    """Check everything that can be checked, then make the folder ready and return the run."""
    parts = load_parts(recipe, accelerator.num_processes)
    if accelerator.is_main_process:
        folder.refuse_unwritable()
    objective = parts.task.objective(recipe, parts.train, accelerator)
    if accelerator.is_main_process:
        folder.start(resumed, fresh=fresh)
    accelerator.wait_for_everyone()
    return build_run(parts, objective, folder, accelerator, start=resumed.step if resumed else 0, show=show)


def _train(run: Run, resumed: Checkpoint | None) -> signal.Signals | None:
    """Take the steps that are left; return the signal that stopped the run, if one did."""
    recipe, folder, accelerator, start = run.recipe, run.folder, run.accelerator, run.start
    with closing(run.progress), listening(show=run.progress.show) as request:
        run.progress.say(
            f"{folder.path}: steps {start + 1} to {recipe.train.iterations}, processes: {accelerator.num_processes}, "
            f"device: {accelerator.device.type}, precision: {accelerator.mixed_precision}"
        )
        if resumed:
            load(run, resumed)
        if accelerator.is_main_process:
            folder.write_recipe(recipe)
        start_trackers(recipe, accelerator, first_step=start + 1)
        for step, micro_batches in enumerate(run.progress.waiting(batches(run)), start + 1):
            stopped_by = _iterate(run, step, micro_batches, request)
            if stopped_by:
                return stopped_by
    return None


def _iterate(run: Run, step: int, micro_batches: Sequence[Batch], request: StopRequest) -> signal.Signals | None:
    """Take the step that ends at `step`, then log, evaluate and save if it is time for it, or if asked to stop."""
    recipe = run.recipe
    outcome = take_step(run, step - 1, micro_batches, request)
    for batch in micro_batches:
        run.tally.replaced.extend(batch.replaced)
    run.progress.advance()
    if _due(step, recipe.log.every, recipe):
        _log(run, step, outcome)
    evaluates = _due(step, recipe.evaluate.every, recipe)
    if evaluates or outcome.signal or _due(step, recipe.checkpoint.every, recipe):
        save(run, step, evaluates=evaluates)
    return outcome.signal if step < recipe.train.iterations else None


def _due(step: int, every: int, recipe: Recipe) -> bool:
    return step % every == 0 or step == recipe.train.iterations


def _log(run: Run, step: int, outcome: Outcome) -> None:
    values = {"loss": outcome.loss, **outcome.parts} if outcome.taken else {}
    values["lr"] = lr_at(run.recipe, step - 1)
    # Where float16's loss scaler left the step out, the norm is infinite, which JSON has no word for.
    if outcome.gradient_norm is not None and math.isfinite(outcome.gradient_norm):
        values["gradient_norm"] = outcome.gradient_norm
    first = f", among them: {run.tally.replaced[0]}" if run.tally.replaced else ""
    counts = run.tally.counts(all_replaced(run))
    if "replaced" in counts:
        run.progress.say(f"step {step}: {counts['replaced']} damaged samples replaced{first}")
    record(run, step, "train", **values, **counts)
    measured = run.progress.measured()  # not in metrics.jsonl, which is the same for the same run
    run.accelerator.log({f"train/{name}": value for name, value in measured.items()}, step=step)
    run.progress.tell(outcome.loss, values["lr"], measured)


def _finished(folder: RunFolder, accelerator: Accelerator, found: Checkpoint, show: bool) -> History:
    if show:
        print(f"{folder.path}: this run is finished ({found.step} steps). Start over with --fresh.")
    if accelerator.is_main_process:
        kept_weights.settle(found.path, folder.path)  # the kill may have come after the last checkpoint
    accelerator.wait_for_everyone()
    return History(folder.metrics, until=found.step, write=False)


def _result(folder: RunFolder, history: History) -> FitResult:
    best = history.best
    if best is None:
        raise TrainError(f"{folder.metrics} holds no evaluation although the run is finished. Start over with --fresh.")
    return FitResult(best=best, best_folder=folder.best, last_folder=folder.last, history=tuple(history.records))
