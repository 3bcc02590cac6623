"""The processes of a run: how many there are, that none got lost at the start, and an orderly end.

Device, precision and number of processes come from `accelerate launch` or torchrun alone, never from a recipe.
No other module imports accelerate.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator as Accelerator  # type: ignore[import-untyped]
from accelerate import PartialState
from accelerate.optimizer import AcceleratedOptimizer as AcceleratedOptimizer  # type: ignore[import-untyped]
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers  # type: ignore[import-untyped]
from accelerate.utils import LoggerType  # type: ignore[import-untyped]

from ccnet_core.errors import CCNetError
from ccnet_train.errors import ProcessError, TrainError

SEVERAL_ON_CPU = (
    "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes {processes} --num_machines 1 "
    "-m ccnet_train ..."
)


@contextmanager
def open_accelerator(folder: Path | None = None, trackers: Sequence[str] = ()) -> Iterator[Accelerator]:
    """Give the accelerator of this process, for `trackers` that write below `folder`, and end its processes in order.

    The trackers are installed ones of :func:`known_trackers`. They are not started yet, and finished at the end.
    Raises TrainError if the launch is not complete, or was for more processes than there are.
    """
    environment = dict(os.environ)  # accelerate writes to it
    if launched_processes(environment) > 1 and PartialState._shared_state and not torch.distributed.is_initialized():
        raise TrainError("A program of several processes can hold one run, and that one is over. Start it once more.")
    # Without cpu=True a machine that has no accelerator makes every process of torchrun believe that it is alone.
    cpu = not torch.accelerator.is_available()
    try:
        accelerator = Accelerator(cpu=cpu, log_with=list(trackers) or None, project_dir=folder)
    except ValueError as error:
        raise TrainError(f"accelerate refuses this launch: {' '.join(str(error).split())}") from error
    refuse_lost_processes(environment, accelerator.num_processes)
    if accelerator.gradient_accumulation_steps != 1:
        raise TrainError("The launch asks for gradient accumulation. Leave that to train.accumulation of the recipe.")
    try:
        yield accelerator
    except BaseException:
        # A process that failed must not wait for the others, which the launcher ends.
        with ExitStack() as last:
            for tracker in accelerator.trackers:
                last.callback(tracker.finish)
        raise
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if accelerator.num_processes > 1:
        time.sleep(0.2)  # gloo's threads end after the group does; a process that exits before them aborts


def known_trackers() -> dict[str, bool]:
    """Return the names of the trackers that accelerate knows, and for each whether its package is installed."""
    optional, installed = LoggerType.list(), [str(tracker) for tracker in get_available_trackers()]
    return {name: name in installed or name not in optional for name in LOGGER_TYPE_TO_CLASS}


def launched_processes(environment: Mapping[str, str]) -> int:
    """Return how many processes `environment` says were launched. Raises TrainError if what it says is not complete."""
    launched = environment.get("WORLD_SIZE", "1")
    if not launched.isdecimal() or int(launched) < 1:
        raise TrainError(f"WORLD_SIZE={launched} is not a number of processes. {_PROPER_LAUNCH}")
    if int(launched) > 1:
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
        if missing:
            raise TrainError(f"WORLD_SIZE={launched}, but {', '.join(missing)} is not set. {_PROPER_LAUNCH}")
        rank = environment["RANK"]
        if not rank.isdecimal() or int(rank) >= int(launched):
            raise TrainError(f"RANK={rank} is not a process of WORLD_SIZE={launched}. {_PROPER_LAUNCH}")
    return int(launched)


_PROPER_LAUNCH = "Start with accelerate launch or torchrun, which set these variables, or unset them for one process."


def refuse_lost_processes(environment: Mapping[str, str], processes: int) -> None:
    """Raise TrainError if `environment` shows a launch for another number of processes than `processes`."""
    launched = environment.get("WORLD_SIZE")
    if launched is not None and launched_processes(environment) != processes:
        raise TrainError(
            f"Launched as {launched} processes (WORLD_SIZE), but accelerate sees {processes}. "
            f"On a CPU start them with: {SEVERAL_ON_CPU.format(processes=launched)}"
        )
    # `accelerate launch --cpu --num_processes N` starts one process and says nothing. It leaves one trace: it gives
    # an address to meet at, which it does only when more than one process was asked for.
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in environment
    if launched is None and processes == 1 and by_accelerate and "MASTER_ADDR" in environment:
        raise TrainError(
            "Launched for several processes (MASTER_ADDR is set), but only one was started. "
            f"On a CPU start them with: {SEVERAL_ON_CPU.format(processes='N')} "
            "(for one process: unset MASTER_ADDR)"
        )


@contextmanager
def own_errors(accelerator: Accelerator) -> Iterator[None]:
    """Make an error in the block, which works on this process's share, a ProcessError if there are other processes."""
    try:
        yield
    except (TrainError, CCNetError, OSError) as error:
        if accelerator.num_processes == 1:
            raise
        raise ProcessError(str(error)) from error


def sum_over_processes(counts: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Return the sum of `counts` over all processes, on the CPU."""
    total: torch.Tensor = accelerator.reduce(counts.to(accelerator.device), reduction="sum")
    return total.cpu()


def agree(values: torch.Tensor, accelerator: Accelerator) -> Callable[[], list[float]]:
    """Sum `values` (n,) over all processes; what is returned waits for the sums and gives them.

    It waits for what was queued on a GPU up to this call only, so that work queued in between goes on meanwhile.
    """
    total: torch.Tensor = accelerator.reduce(values, reduction="sum") if accelerator.num_processes > 1 else values
    if total.device.type != "cuda":
        return total.tolist
    host = torch.empty(total.shape, dtype=total.dtype, pin_memory=True).copy_(total, non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record()

    def wait() -> list[float]:
        while not there.query():  # type: ignore[no-untyped-call]
            time.sleep(1e-4)  # not synchronize(), in which no signal would be heard
        return host.tolist()

    return wait


def gather_texts(texts: list[str], accelerator: Accelerator) -> list[str]:
    """Return the `texts` of all processes, in the order of their ranks."""
    gathered: list[list[str]] = [texts for _ in range(accelerator.num_processes)]
    if accelerator.num_processes > 1:
        torch.distributed.all_gather_object(gathered, texts)
    return [text for part in gathered for text in part]


def share_buffers(model: torch.nn.Module, accelerator: Accelerator) -> None:
    """Give every process the main one's buffers.

    Without SyncBN each process has running statistics of its own after a step: an evaluation shared among them would
    be one of several models.
    """
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)
