"""best/ and last/: they belong to a checkpoint, and those in the run's folder are those of the one it goes on from.

Each checkpoint holds both, so that going back to an older one takes the weights back with it. The tensors of a folder
that did not change are one file with several names, and so are the results of objects.
"""

import os
import shutil
from pathlib import Path

from ccnet_core import files
from ccnet_train.evaluation_folder import BOXES_FILE, MASKS_FILE, TRUTH_FILE

NAMES = ("last", "best")
WEIGHTS = ".safetensors"
LINKED = (WEIGHTS, BOXES_FILE, MASKS_FILE, TRUTH_FILE)
"""How the names of large files end, which nobody changes in place."""


def copy(source: Path, target: Path) -> None:
    """Make `target` a copy of a weights folder. A change to its card leaves the copy's as it is."""
    shutil.copytree(source, target, copy_function=_link_or_copy, dirs_exist_ok=True)


def carry(previous: Path, checkpoint: Path) -> None:
    """Let `checkpoint` have best/ and last/ of the one before it, unless it has newer ones."""
    for name in NAMES:
        if (previous / name).is_dir() and not (checkpoint / name).is_dir():
            copy(previous / name, checkpoint / name)


def settle(checkpoint: Path, place: Path) -> None:
    """Let best/ and last/ in `place` be those of `checkpoint`; remove one that it has not got."""
    for name in NAMES:
        source, target = checkpoint / name, place / name
        if not source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        elif not _same(source, target):
            with files.replace_folder(target) as new:
                copy(source, new)


def _link_or_copy(source: str, target: str) -> None:
    if not (source.endswith(LINKED) and _link(source, target)):
        shutil.copy2(source, target)


def _link(source: str, target: str) -> bool:
    """Give the file a second name; return False on a file system that cannot."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _same(source: Path, target: Path) -> bool:
    """Tell whether both hold the same files of tensors."""
    names = [path.name for path in source.glob(f"*{WEIGHTS}")]
    return all((target / name).is_file() and (source / name).samefile(target / name) for name in names)
