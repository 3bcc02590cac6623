"""What was written stays, also where the power fails: files and folders forced to the disk."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Force the content of a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Force `folder` and everything below it to the disk."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
