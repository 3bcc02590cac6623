"""Errors of torch and of the system, met in the middle of a run, in words that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ccnet_train.errors import ProcessError, TrainError

CONTINUE = "the same command then continues from the newest checkpoint."


@contextmanager
def in_plain_words(output: Path, processes: int) -> Iterator[None]:
    """Make of what the system does to a run in the block an error that one can act on; others pass as they are.

    Raises ProcessError for what the other processes do not meet, TrainError for the rest.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        own, lost = _own(error, output), _lost(error, processes)
        if own:
            raise (ProcessError if processes > 1 else TrainError)(own) from error
        if lost:
            raise TrainError(lost) from error
        raise


def _own(error: Exception, output: Path) -> str:
    text = _first_line(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in text:
        return (
            f"Out of memory ({text}). What helps, in this order: model.activation_checkpointing=true, more processes, "
            "a larger train.accumulation, mixed precision by `accelerate launch --mixed_precision bf16`, a smaller "
            f"augment.crop or train.images_per_step. Where the result changes, add --allow-change; {CONTINUE}"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"output={output}: the disk is full ({text}). Make room; {CONTINUE}"
    if "DataLoader worker" in text:
        return (
            f"A process that loads pictures died ({text}). Often it had too little memory, or /dev/shm is too small: "
            f"lower data.workers; {CONTINUE}"
        )
    return ""


def _lost(error: Exception, processes: int) -> str:
    text = str(error)
    by_name = isinstance(error, torch.distributed.DistError) or "gloo" in text.lower() or "NCCL" in text
    if processes == 1 or not by_name:
        return ""
    return f"The connection to another process was lost. What that one said tells why; {CONTINUE}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
