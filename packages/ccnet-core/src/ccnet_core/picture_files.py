"""The pictures and videos that words name: files, folders, patterns and lists; and a name for the results of each."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccnet_core.errors import PictureError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""By these a picture is known in a folder, in small or capital letters. A file that is named may have any."""

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")

CAMERA = "camera:"
"""How the word for a camera begins; a number follows."""

LIST = "-"
"""The word for a list of files on stdin."""


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, called as on the command line."""

    number: int

    def __str__(self) -> str:
        return f"{CAMERA}{self.number}"


@dataclass(frozen=True)
class Named:
    """A picture or video, `source`, and the `name` of its results, a relative path without suffix.

    The source is the path of a file, or a camera; or anything else of which a picture can be read.
    """

    source: Any
    name: str

    @property
    def is_video(self) -> bool:
        """Tell by the suffix; a camera gives a video."""
        return isinstance(self.source, Camera) or (
            isinstance(self.source, Path) and self.source.suffix.lower() in VIDEO_SUFFIXES
        )


@dataclass(frozen=True)
class _Found:
    path: Path
    root: Path
    """The folder below which the path is the name."""


def find_pictures(
    words: Sequence[str], lines: Iterable[str] = (), *, out: Path, results: Iterable[str] = ()
) -> list[Named]:
    """Return the pictures and videos that `words` name, each once: files, folders, patterns such as "a/*.jpg", or "-".

    "camera:0" is the first camera; the results of its video are called "camera-0".

    A folder gives the pictures in and below it, by name, without hidden ones, and without what an earlier run has left
    there: the folder `out`, and files called as a picture with one of the endings `results`. "-" gives the files named
    by `lines`, one each; whether those exist is not looked at. Results are named as the file, or as its path in the
    folder or below the fixed part of the pattern. Names that would be equal keep their suffixes, or begin with the path
    from the folder that all have in common.

    Raises PictureError for a word that names nothing.
    """
    cameras = [Camera(_camera_number(word)) for word in dict.fromkeys(words) if word.startswith(CAMERA)]
    found: dict[Path, _Found] = {}
    for word in (word for word in words if not word.startswith(CAMERA)):
        for file in _find(word, lines, out, tuple(results)):
            found.setdefault(_absolute(file.path), file)
    unique = list(found.values())
    names = _with_suffixes(unique)
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath([path.parent for path in found]))
        names = _with_suffixes([_Found(path, common) for path in found])
    files = [Named(file.path, name) for file, name in zip(unique, names, strict=True)]
    return files + [Named(camera, str(camera).replace(":", "-")) for camera in cameras]


def _camera_number(word: str) -> int:
    number = word.removeprefix(CAMERA)
    if not number.isdecimal():
        raise PictureError(f"{word}: a camera is called by its number, such as {CAMERA}0.")
    return int(number)


def _absolute(path: Path) -> Path:
    """Return the path without `..`. Links stay as they are called, unlike in `Path.resolve`."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _find(word: str, lines: Iterable[str], out: Path, results: tuple[str, ...]) -> list[_Found]:
    path = Path(word)
    if word == LIST:
        listed = [Path(line.rstrip("\r\n")) for line in lines if line.strip()]
        found = [_Found(file, file.parent) for file in listed]
        nothing = "the list on stdin is empty. Give a file on each line"
    elif path.is_dir():
        found = _in_folder(path, out, results)
        nothing = f"{word}: this folder holds no picture ({' '.join(SUFFIXES)}). Give another, or name files"
    elif path.exists() or not glob.has_magic(word):
        found = [_Found(path, path.parent)] if path.exists() else []
        nothing = f"{word}: there is no such file or folder. Check the name"
    else:
        root = _fixed_part(path)
        matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]  # noqa: PTH207
        found = [_Found(match, root) for match in matches if match.is_file()]
        nothing = f"{word}: no file is called so. Check the pattern"
    if not found:
        raise PictureError(f"{nothing}.")
    return found


def _in_folder(folder: Path, out: Path, results: tuple[str, ...]) -> list[_Found]:
    files = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _is_same(here / name, out))
        pictures = {*names, *(name.rpartition(".")[0] for name in names)}
        files += [
            here / name
            for name in sorted(names)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and not _is_result(name, pictures, results)
        ]
    return [_Found(file, folder) for file in files]


def _refuse(error: OSError) -> None:
    raise PictureError(f"{error.filename}: this folder may not be read ({error.strerror}). Check its permissions.")


def _is_same(folder: Path, out: Path) -> bool:
    return out.is_dir() and folder.samefile(out)


def _is_result(name: str, pictures: set[str], endings: tuple[str, ...]) -> bool:
    """Tell whether this file is a result of one of the folder, which may be called with its suffix or without."""
    return any(name.endswith(ending) and name.removesuffix(ending) in pictures for ending in endings)


def _fixed_part(pattern: Path) -> Path:
    """Return the folders of a pattern before the first one with a wildcard."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _with_suffixes(files: Sequence[_Found]) -> list[str]:
    """Return the names, with suffix where two would be equal."""
    paths = [file.path.relative_to(file.root) for file in files]
    count = Counter(_without_suffix(path) for path in paths)
    return [str(path if count[_without_suffix(path)] > 1 else _without_suffix(path)) for path in paths]


def _without_suffix(path: Path) -> Path:
    return path.with_suffix("") if path.suffix else path  # a list may hold ".", which has no name
