"""Resumable state: folders `step-000250`, complete or not there, and known to be as they were written."""

import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ccnet_train import manifest
from ccnet_train.durable import sync, sync_tree
from ccnet_train.errors import TrainError

PREFIX = "step-"
INCOMPLETE = "."
"""How the name of a folder begins while it is being written or deleted, and that of one that was found damaged."""

STATE = "state.pt"
"""The file that holds the state, next to the weights folders that came with it."""


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


def latest_sound(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint whose files are as they were written, and what is wrong with the newer ones.

    Raises TrainError if there are checkpoints and all are damaged.
    """
    faults: list[str] = []
    for found in reversed(checkpoints(folder)):
        damage = manifest.damage(found.path)
        if not damage:
            return found, faults
        faults.append(f"{found.path} is damaged ({damage})")
    if faults:
        raise TrainError(f"{'; '.join(faults)}. Restore one, or start over with --fresh (deletes that run).")
    return None, []


@contextmanager
def saving(folder: Path, step: int, *, keep: int) -> Iterator[Path]:
    """Give an empty folder that becomes the checkpoint after `step` iterations; then remove all but `keep`.

    What the block writes into it is forced to the disk and becomes visible at once, or not at all: after an error the
    folder is removed, and the older checkpoints stay.
    """
    path = path_of(folder, step)
    incomplete = _incomplete(path)
    shutil.rmtree(incomplete, ignore_errors=True)
    try:
        incomplete.mkdir(parents=True)
        yield incomplete
        manifest.write(incomplete)
        sync_tree(incomplete)
        incomplete.replace(path)
    except Exception:
        shutil.rmtree(incomplete, ignore_errors=True)  # its room on a full disk is needed
        raise
    sync(folder)
    for old in checkpoints(folder)[:-keep]:
        remove(old.path)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state`, plain data and tensors, into `folder`. Raises OSError if it cannot be written."""
    with (folder / STATE).open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's writer, after the file refused some bytes
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def read_state(found: Checkpoint) -> dict[str, Any]:
    """Return the state of a checkpoint, on the CPU. Raises TrainError that names the file if it cannot be read."""
    try:
        state: dict[str, Any] = torch.load(found.path / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise TrainError(
            f"{found.path / STATE}: cannot be read ({reason}). Remove {found.path} to use the one before, "
            "or start over with --fresh."
        ) from error
    return state


def remove(path: Path) -> None:
    """Remove a checkpoint; a kill in between leaves it complete or marked as incomplete."""
    shutil.rmtree(set_aside(path))


def set_aside(path: Path) -> Path:
    """Take a checkpoint out of use, and return what it is called now; :func:`remove_incomplete` deletes it."""
    incomplete = _incomplete(path)
    shutil.rmtree(incomplete, ignore_errors=True)
    return path.replace(incomplete)


def remove_incomplete(folder: Path) -> None:
    """Remove what a kill left half written or half deleted in `folder`."""
    for path in folder.glob(f"{INCOMPLETE}{PREFIX}*"):
        shutil.rmtree(path)


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint after `step` iterations lies in `folder`."""
    return folder / f"{PREFIX}{step:06}"


def _incomplete(path: Path) -> Path:
    return path.with_name(INCOMPLETE + path.name)
