"""A checkpoint, and with it the weights of an evaluation: they become visible together."""

from contextlib import nullcontext
from pathlib import Path

import torch

from ccnet_train import checkpoint, kept_weights
from ccnet_train.durable import sync
from ccnet_train.errors import TrainError
from ccnet_train.launch import share_buffers, sum_over_processes
from ccnet_train.model_card import card_values
from ccnet_train.run import Run
from ccnet_train.sharding import local, whole
from ccnet_train.state import collect, restore
from ccnet_train.trackers import log_picture


def save(run: Run, step: int, *, evaluates: bool) -> None:
    """Write a checkpoint after `step`, and evaluate first if it is time. Called by all processes together.

    An evaluation is always saved: best/ then never holds weights of a step that a resumed run has not reached. Raises
    TrainError, and leaves the older checkpoints, if the weights are not finite.
    """
    _refuse_spoiled(run, step)
    main, folder = run.accelerator.is_main_process, run.folder
    keep = run.recipe.checkpoint.keep
    previous = checkpoint.latest(folder.checkpoints)
    with checkpoint.saving(folder.checkpoints, step, keep=keep) if main else nullcontext() as incomplete:
        if evaluates:
            _evaluate(run, step, incomplete)
        replaced = all_replaced(run)
        state = collect(run.network, run.optimiser.optimizer, scaler=run.accelerator.scaler, average=run.average)
        if incomplete:
            checkpoint.write_state(incomplete, {**state, "tally": run.tally.state_dict(replaced)})
            if previous:
                kept_weights.carry(previous.path, incomplete)
            sync(folder.metrics)
    if main:
        kept_weights.settle(checkpoint.path_of(folder.checkpoints, step), folder.path)
    run.accelerator.wait_for_everyone()
    run.progress.restart_clock()


def load(run: Run, found: checkpoint.Checkpoint) -> None:
    """Go on from the checkpoint `found`. Raises TrainError if it does not fit the recipe."""
    state = checkpoint.read_state(found)
    restore(state, run.network, run.optimiser.optimizer, scaler=run.accelerator.scaler, average=run.average)
    if run.average and "average" not in state:
        run.average.start()  # switched on by --allow-change
    run.tally.load_state_dict(state["tally"])


def all_replaced(run: Run) -> int:
    """Return how many damaged samples were replaced in all processes since the last logged step."""
    return int(sum_over_processes(torch.tensor([len(run.tally.replaced)]), run.accelerator))


def record(run: Run, step: int, section: str, **values: float) -> None:
    """Give the `values` of `step` to metrics.jsonl and the trackers."""
    run.history.add(step, **values)
    run.accelerator.log({f"{section}/{key}": value for key, value in values.items()}, step=step)


def _evaluate(run: Run, step: int, target: Path | None) -> None:
    """Evaluate after `step`; into `target` write last/ and, if it is the best so far, best/. Write preview.png."""
    share_buffers(run.network, run.accelerator)
    task, val = run.task, run.parts.val
    with run.average.applied() if run.average else nullcontext():
        network = whole(run.network)
        found = task.evaluate(network, val, run.accelerator, show=run.progress.show)
        metrics, best = found.metrics, run.history.best
        record(run, step, "val", **metrics)
        run.progress.say(f"step {step}: {found.line()}")
        if target:
            network.save_pretrained(target / "last", **card_values(run.recipe, metrics, val))
            precision = run.accelerator.mixed_precision
            task.keep(target / "last", found, network, val, recipe=run.recipe, step=step, precision=precision)
            if best is None or metrics[task.score] > best[task.score]:
                kept_weights.copy(target / "last", target / "best")
            log_picture(run.accelerator, "val/preview", task.preview(run.folder.preview, network, val), step)


def _refuse_spoiled(run: Run, step: int) -> None:
    values = run.network.state_dict().values()
    finite = torch.stack([local(value).isfinite().all() for value in values if value.is_floating_point()]).all()
    if int(sum_over_processes(finite.int(), run.accelerator)) < run.accelerator.num_processes:
        raise TrainError(
            f"The weights are not finite after step {step}, although the loss was: nothing of it was saved. "
            "Set optimiser.clip_gradient_norm or lower optimiser.lr, each with --allow-change or --fresh."
        )
