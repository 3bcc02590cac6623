"""Looking at folders and lists: what is there, and what to say of what is not."""

import os
from collections.abc import Collection
from pathlib import Path, PurePath

from ..errors import DataError, enumerate_some
from ..pictures import read_file


def require_folder(folder: Path, expected: str) -> Path:
    """Return `folder`. Raises DataError, with `expected` and what was found, if it is not there or cannot be read."""
    if folder.is_dir():
        if not os.access(folder, os.R_OK | os.X_OK):
            raise DataError(f"{folder}: may not be read; check its permissions.")
        return folder
    if folder.exists():
        raise DataError(f"{folder}: is a file, not a folder; {expected}. An archive is to be unpacked first.")
    present = next(parent for parent in folder.parents if parent.is_dir())
    raise DataError(f"{folder}: there is no such folder; {expected}. In {present}, {found_in(present)}.")


def descend(folder: Path, inside: str) -> Path:
    """Return the folder at `inside`, such as "a/b", where `folder` is the one that holds a, or a itself, or b."""
    parts = PurePath(inside).parts
    ways = (folder.joinpath(*parts[start:]) for start in range(len(parts)))
    return next((way for way in ways if way.is_dir()), folder)


def found_in(folder: Path) -> str:
    """Return "found a/, b.txt and 3 more", or "found nothing"."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return f"found {enumerate_some(names)}" if names else "found nothing"


def list_files(folder: Path, endings: Collection[str]) -> list[str]:
    """Return the names of the files in `folder` that end in one of `endings`, in any case, and are not hidden."""
    wanted = tuple(ending.lower() for ending in endings)
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name.lower().endswith(wanted) and not entry.name.startswith(".") and entry.is_file()
        ]


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in `folder` that are not hidden, in order."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def listed_names(file: Path, remedy: str) -> list[str]:
    """Return the names in the list `file`, one per line. Raises DataError, with `remedy` and what was found."""
    if not file.is_file():
        raise DataError(f"{file}: there is no such list; {remedy}. In {file.parent}, {found_in(file.parent)}.")
    return read_file(file).decode("utf-8", "replace").split()
