"""One step of the optimiser: the gradient of all its pictures, in all processes, then the update or none."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from signal import Signals

import torch
from torch import Tensor

from ccnet_train.errors import TrainError
from ccnet_train.launch import agree, gather_texts
from ccnet_train.optimise import learning_rate, set_learning_rate
from ccnet_train.positions import Batch
from ccnet_train.preemption import StopRequest, chosen
from ccnet_train.randomness import Purpose, seed_torch
from ccnet_train.recipe import Recipe
from ccnet_train.run import Run

MANY = 16
"""How many samples a message names."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a step: the loss of all its pictures, the norm of the gradient where it is clipped.

    `parts` are those of the loss, where they have names. `taken` is False for a step that was left out. `signal` is
    what the processes agreed to stop for after it.
    """

    loss: float
    parts: dict[str, float]
    gradient_norm: float | None
    taken: bool
    signal: Signals | None


def take_step(run: Run, iteration: int, batches: Sequence[Batch], request: StopRequest) -> Outcome:
    """Take the step that follows `iteration` others, from this process's micro-batches.

    A loss, or a clipped gradient, that is not finite changes no weight. Raises TrainError for it, in every process,
    unless `train.nonfinite` says to leave the step out. On GPUs the loss is read while the backward pass runs.
    """
    seed_torch(Purpose.STEP, run.recipe.seed, iteration, run.accelerator.process_index)
    set_learning_rate(run.optimiser, lr_at(run.recipe, iteration))
    put_back = _remembered_buffers(run)
    losses, told = _backward(run, batches, request)
    values, known = told(), len(losses[0])
    parts, counts = values[:known], values[known:]
    loss = sum(parts)
    norm = _clip(run) if math.isfinite(loss) else None
    taken = math.isfinite(loss) and _usable(run, norm)
    if taken:
        run.optimiser.step()
        run.tally.in_a_row = 0
    else:
        _leave_out(run, iteration + 1, _fault(loss, norm), _samples(run, batches, losses))
        put_back()
    run.optimiser.zero_grad()
    if taken and run.average:
        run.average.update()
    named = dict(zip(run.objective.parts, parts, strict=False))
    return Outcome(loss=loss, parts=named, gradient_norm=norm, taken=taken, signal=chosen(counts or request.counts))


def lr_at(recipe: Recipe, iteration: int) -> float:
    """Return the learning rate of `iteration`, before the multipliers of the optimiser's groups."""
    return learning_rate(
        iteration, iterations=recipe.train.iterations, lr=recipe.optimiser.lr, schedule=recipe.schedule
    )


def _backward(
    run: Run, batches: Sequence[Batch], request: StopRequest
) -> tuple[list[Tensor], Callable[[], list[float]]]:
    """Compute the gradient; return the losses (P,) here, and what gives their sums and then the signals of all."""
    accelerator, processes = run.accelerator, run.accelerator.num_processes
    channels_last = run.recipe.train.channels_last
    pictures = [run.task.to_device(batch, accelerator.device, channels_last=channels_last) for batch in batches]
    divisors = torch.stack([run.objective.divisors(truth) for _, truth in pictures]).sum(0)
    if processes > 1:
        divisors = accelerator.reduce(divisors, reduction="sum")
    losses: list[Tensor] = []
    told: Callable[[], list[float]] = list
    share = 1 / (processes * len(batches))
    for number, (images, truth) in enumerate(pictures, 1):
        last = number == len(pictures)
        # The micro-batches before the last keep their gradients to themselves.
        with nullcontext() if last else accelerator.no_sync(run.model):
            parts = run.objective.losses(run.network, run.forward, images, truth, divisors, share)
            losses.append(parts.detach())
            if last:
                told = _tell(run, torch.stack(losses).sum(0), request)
            accelerator.backward(parts.sum() * processes)  # DistributedDataParallel divides by it
    return losses, told


def _tell(run: Run, values: Tensor, request: StopRequest) -> Callable[[], list[float]]:
    """Add up the losses and the signals of all processes: agreeing to stop costs no message of its own."""
    if run.accelerator.num_processes > 1:
        values = torch.cat([values, torch.tensor(request.counts, dtype=values.dtype, device=values.device)])
    return agree(values, run.accelerator)


def _clip(run: Run) -> float | None:
    limit = run.recipe.optimiser.clip_gradient_norm
    return None if limit is None else float(run.accelerator.clip_grad_norm_(run.model.parameters(), limit))


def _usable(run: Run, norm: float | None) -> bool:
    # With float16 a norm that is not finite is ordinary: the loss scaler leaves the step out and scales less.
    return norm is None or math.isfinite(norm) or run.accelerator.scaler is not None


def _remembered_buffers(run: Run) -> Callable[[], None]:
    """Return what puts back the buffers, such as running statistics, as they are now."""
    buffers = list(run.network.buffers()) if run.recipe.train.nonfinite == "skip" else []
    before = [buffer.clone() for buffer in buffers]

    def put_back() -> None:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)

    return put_back


def _fault(loss: float, norm: float | None) -> str:
    return f"the loss is {loss}" if norm is None else f"the loss is {loss}, the norm of its gradient {norm}"


def _samples(run: Run, batches: Sequence[Batch], losses: list[Tensor]) -> list[str]:
    """Return the samples of all micro-batches that met it, in all processes; all where only the sum is not finite."""
    met = [batch for batch, loss in zip(batches, losses, strict=True) if not bool(loss.isfinite().all())]
    names, everything = ([name for batch in part for name in batch.ids] for part in (met, batches))
    return gather_texts(names, run.accelerator) or gather_texts(everything, run.accelerator)


def _leave_out(run: Run, step: int, fault: str, names: list[str]) -> None:
    """Count a step that is not taken. Raises TrainError if there must not be one, or were too many in a row."""
    train = run.recipe.train
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    found = f"step {step}: {fault}, with the samples {', '.join(names[:MANY])}{more}"
    if train.nonfinite == "stop":
        raise TrainError(
            f"{found}. Nothing of this step was saved. Leave such steps out with train.nonfinite=skip, or lower "
            "optimiser.lr, raise schedule.warmup_iterations or set optimiser.clip_gradient_norm, each with "
            "--allow-change or --fresh."
        )
    run.tally.skipped += 1
    run.tally.in_a_row += 1
    if run.tally.in_a_row > train.nonfinite_limit:
        raise TrainError(
            f"{found}. So it was in {run.tally.in_a_row} steps in a row, more than train.nonfinite_limit. "
            "Lower optimiser.lr with --allow-change or --fresh."
        )
    run.progress.say(f"{found}: left out")
