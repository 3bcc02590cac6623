"""Resumable state: folders `step-000250` with weights, optimiser and scaler, complete or not there."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator

PREFIX = "step-"
INCOMPLETE = "."
"""How the name of a folder begins while it is being written or deleted."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    """The state after `step` iterations."""

    step: int
    path: Path


def checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints in `folder`, oldest first."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = ((re.fullmatch(rf"{PREFIX}(\d+)", path.name), path) for path in paths)
    return sorted(Checkpoint(int(match[1]), path) for match, path in found if match and path.is_dir())


def latest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint in `folder`, if there is one."""
    return max(checkpoints(folder), default=None)


@contextmanager
def saving(accelerator: Accelerator, folder: Path, step: int, *, keep: int) -> Iterator[Path]:
    """Write the state after `step` iterations and remove all but the newest `keep`. Called by all processes together.

    What the block writes into the folder it is given becomes visible together with the state, or not at all. The
    position in the data is the step, so it is not stored. accelerate adds the global random generators of each process,
    from which nothing in a run draws without seeding them first.
    """
    path = path_of(folder, step)
    incomplete = path.with_name(INCOMPLETE + path.name)
    if accelerator.is_main_process:
        shutil.rmtree(incomplete, ignore_errors=True)
        incomplete.mkdir(parents=True)
    accelerator.wait_for_everyone()
    yield incomplete
    accelerator.save_state(str(incomplete))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        incomplete.replace(path)
        for old in checkpoints(folder)[:-keep]:
            remove(old.path)
    accelerator.wait_for_everyone()


def load(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Load the state after `step` iterations. Raises TrainError that names the folder if it is damaged."""
    path = path_of(folder, step)
    try:
        accelerator.load_state(str(path))
    except Exception as error:
        # The readers of weights, optimiser and scaler share no base class.
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise TrainError(
            f"{path}: cannot be loaded ({reason}). Remove it to use the one before, or start over with --fresh."
        ) from error


def remove(path: Path) -> None:
    """Remove a checkpoint; a kill in between leaves it complete or marked as incomplete."""
    incomplete = path.with_name(INCOMPLETE + path.name)
    path.replace(incomplete)
    shutil.rmtree(incomplete)


def remove_incomplete(folder: Path) -> None:
    """Remove what a kill left half written or half deleted in `folder`."""
    for path in folder.glob(f"{INCOMPLETE}{PREFIX}*"):
        shutil.rmtree(path)


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint after `step` iterations lies in `folder`."""
    return folder / f"{PREFIX}{step:06}"
