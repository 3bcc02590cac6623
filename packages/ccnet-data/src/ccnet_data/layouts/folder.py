"""The dataset "folder": your own pictures and label maps, paired by file name.

ROOT/images/a.jpg goes with ROOT/labels/a.png. With splits, ROOT/images/train/a.jpg goes with ROOT/labels/train/a.png.
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..classes import ClassesOption, PaletteOption, resolve
from ..errors import DataError, enumerate_some, nearest
from ..options import Fault, Option, path
from ..pictures import PICTURE_SUFFIXES
from ..source import Source, faults_of
from .pairs import Pair, PairDataset

IMAGES, LABELS = "images", "labels"
FLAT_SPLIT = "train"
"""The one split of a root without split folders. Another name would give the same pictures for training and testing."""


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Your own files: ROOT/images/NAME.jpg with ROOT/labels/NAME.png, flat or in a sub-folder per split."""

    root: Annotated[Path | None, Option(path, "folder that holds images/ and labels/")] = None
    classes: ClassesOption = None
    palette: PaletteOption = None

    def faults(self, split: str | None) -> list[Fault]:
        """Return the faults of the class names and of the folders; files are paired but not opened."""

        def pair_up() -> None:
            root = self._given_root()
            for each in list_splits(root) if split is None else [split]:
                list_pairs(root, each)

        return faults_of(classes=lambda: resolve(self.classes, self.palette, self.root), root=pair_up)

    def open(self, split: str) -> PairDataset:
        """Pair the files of `split`, in the order of their names."""
        classes, palette = resolve(self.classes, self.palette, self.root)
        return PairDataset(pairs=list_pairs(self._given_root(), split), classes=classes, palette=palette)

    def _given_root(self) -> Path:
        if self.root is None:
            raise DataError(f"root is missing: give root=DIR with {IMAGES}/ and {LABELS}/ in it.")
        return self.root


def list_splits(root: Path) -> list[str]:
    """Return the names of the sub-folders of `root`/images, or ["train"] when pictures lie there directly."""
    images = _require_folder(root / IMAGES)
    splits = sorted(entry.name for entry in images.iterdir() if entry.is_dir() and not _hidden(entry))
    if splits and _files(images, PICTURE_SUFFIXES):
        raise DataError(
            f"{images}: holds pictures beside the sub-folders {enumerate_some(splits)}; "
            "move every picture into the folder of its split."
        )
    return splits or [FLAT_SPLIT]


def list_pairs(root: Path, split: str) -> tuple[Pair, ...]:
    """Return the pairs of `split` by name. Raises DataError when a picture or a label is alone, or there are none."""
    images, labels = _split_folders(root, split)
    pictures = _by_stem(images, PICTURE_SUFFIXES)
    maps = _by_stem(labels, (".png",))
    if not pictures:
        raise DataError(f"{images}: holds no pictures ({', '.join(PICTURE_SUFFIXES)}); {_found(images)}.")
    _require_partners(pictures, maps, f"have no label of the same name in {labels}", "add it as a PNG")
    _require_partners(maps, pictures, f"have no picture of the same name in {images}", "add it, or remove the label")
    return tuple(Pair(id=file.stem, picture=file, label=maps[stem]) for stem, file in sorted(pictures.items()))


def _split_folders(root: Path, split: str) -> tuple[Path, Path]:
    splits = list_splits(root)
    if split not in splits:
        flat = f" Without sub-folders in {root / IMAGES} there is one split." if splits == [FLAT_SPLIT] else ""
        raise DataError(f"{root / IMAGES}: there is no split {split!r}.{nearest(str(split), splits)}{flat}")
    inside = split if (root / IMAGES / split).is_dir() else ""
    return root / IMAGES / inside, _require_folder(root / LABELS / inside)


def _require_folder(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    present = next(parent for parent in folder.parents if parent.is_dir())
    raise DataError(
        f"{folder}: there is no such folder; root must hold {IMAGES}/ and {LABELS}/. In {present}, {_found(present)}."
    )


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Return the files of `folder` by stem; composed and decomposed Unicode spell the same name."""
    files: dict[str, Path] = {}
    for file in _files(folder, suffixes):
        stem = unicodedata.normalize("NFC", file.stem)
        if stem in files:
            raise DataError(f"{folder}: {files[stem].name} and {file.name} share a name; rename or remove one.")
        files[stem] = file
    return files


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    named = (file for file in folder.iterdir() if file.suffix.lower() in suffixes and not _hidden(file))
    return sorted(file for file in named if file.is_file())


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".")


def _require_partners(files: dict[str, Path], partners: Collection[str], lack: str, remedy: str) -> None:
    alone = sorted(file.name for stem, file in files.items() if stem not in partners)
    if alone:
        raise DataError(f"{enumerate_some(alone)} {lack}; {remedy}.")


def _found(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return f"found {enumerate_some(names)}" if names else "found nothing"
