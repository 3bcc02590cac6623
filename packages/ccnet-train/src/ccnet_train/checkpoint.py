"""Resumable state: folders `step-000250` with weights, optimiser and scaler, complete or not there."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ccnet_train.launch import Accelerator

PREFIX = "step-"
UNFINISHED = "."
"""How the name of a folder begins while it is being written."""


@dataclass(frozen=True, order=True)
class Checkpoint:
    """The state after `step` iterations."""

    step: int
    path: Path


def checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the complete checkpoints in `folder`, oldest first."""
    paths = folder.glob(f"{PREFIX}*") if folder.is_dir() else ()
    return sorted(Checkpoint(int(path.name.removeprefix(PREFIX)), path) for path in paths)


def latest(folder: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint in `folder`, if there is one."""
    return max(checkpoints(folder), default=None)


def save(accelerator: Accelerator, folder: Path, step: int, *, keep: int) -> None:
    """Write the state after `step` iterations and remove all but the newest `keep`. Called by all processes together.

    The position in the data is the step, and random numbers are drawn anew from it, so neither is stored.
    """
    path = folder / f"{PREFIX}{step:06}"
    unfinished = path.with_name(UNFINISHED + path.name)
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        unfinished.replace(path)
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old.path)
    accelerator.wait_for_everyone()


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill left half written in `folder`."""
    for path in folder.glob(f"{UNFINISHED}{PREFIX}*"):
        shutil.rmtree(path)


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint after `step` iterations lies in `folder`."""
    return folder / f"{PREFIX}{step:06}"
