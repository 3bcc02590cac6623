"""The dataset "folder": your own pictures and label maps, paired by file name.

ROOT/images/a.jpg goes with ROOT/labels/a.png. With splits, ROOT/images/train/a.jpg goes with ROOT/labels/train/a.png.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated

from ..classes import ClassesOption, PaletteOption, resolve
from ..errors import DataError, enumerate_some, nearest
from ..labels import ClassLabels
from ..options import Fault, Option, path
from ..pictures import PICTURE_SUFFIXES
from ..source import Source, faults_of
from .pairs import Listing, Names, PairDataset, match, refuse
from .tree import found_in, list_files, list_folders, require_folder

IMAGES, LABELS = "images", "labels"
EXPECTED = f"root must hold {IMAGES}/ and {LABELS}/"
FLAT_SPLIT = "train"
"""The one split of a root without split folders. Another name would give the same pictures for training and testing."""


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Your own files: ROOT/images/NAME.jpg with ROOT/labels/NAME.png, flat or in a sub-folder per split."""

    root: Annotated[Path | None, Option(path, "folder that holds images/ and labels/")] = None
    classes: ClassesOption = None
    palette: PaletteOption = None

    def splits(self) -> tuple[str, ...]:
        """Return the sub-folders of images/, or "train" when pictures lie there directly."""
        return tuple(list_splits(self._given_root()))

    def faults(self, split: str | None) -> list[Fault]:
        """Return the faults of the class names and of the folders; files are paired but not opened."""

        def pair_up() -> None:
            root = self._given_root()
            for each in list_splits(root) if split is None else [split]:
                refuse(list_pairs(root, each).faults)

        return faults_of(classes=lambda: resolve(self.classes, self.palette, self.root), root=pair_up)

    def open(self, split: str) -> PairDataset:
        """Pair the files of `split`, in the order of their names."""
        dataset, faults = self.partial(split)
        refuse(faults)
        return dataset

    def partial(self, split: str) -> tuple[PairDataset, tuple[str, ...]]:
        """Pair the files of `split` as far as they have partners."""
        classes, palette = resolve(self.classes, self.palette, self.root)
        listing = list_pairs(self._given_root(), split)
        read_label = ClassLabels(count=len(classes))
        dataset = PairDataset(pairs=listing.pairs, classes=classes, palette=palette, read_label=read_label)
        return dataset, listing.faults

    def _given_root(self) -> Path:
        if self.root is None:
            raise DataError(f"root is missing: give root=DIR with {IMAGES}/ and {LABELS}/ in it.")
        return self.root


def list_splits(root: Path) -> list[str]:
    """Return the names of the sub-folders of `root`/images, or ["train"] when pictures lie there directly."""
    images = require_folder(root / IMAGES, EXPECTED)
    splits = list_folders(images)
    if splits and list_files(images, PICTURE_SUFFIXES):
        raise DataError(
            f"{images}: holds pictures beside the sub-folders {enumerate_some(splits)}; "
            "move every picture into the folder of its split."
        )
    return splits or [FLAT_SPLIT]


def list_pairs(root: Path, split: str) -> Listing:
    """Return the pairs of `split` by name. Raises DataError when folders are missing or hold no pictures."""
    images, labels = _split_folders(root, split)
    pictures = Names(images, list_files(images, PICTURE_SUFFIXES), _stem)
    if not pictures:
        raise DataError(f"{images}: holds no pictures ({', '.join(PICTURE_SUFFIXES)}); {found_in(images)}.")
    return match(pictures, Names(labels, list_files(labels, (".png",)), _stem))


def _stem(name: str) -> str:
    """Return the name without its ending; composed and decomposed Unicode spell the same name."""
    return unicodedata.normalize("NFC", PurePath(name).stem)


def _split_folders(root: Path, split: str) -> tuple[Path, Path]:
    splits = list_splits(root)
    if split not in splits:
        flat = f" Without sub-folders in {root / IMAGES} there is one split." if splits == [FLAT_SPLIT] else ""
        raise DataError(f"{root / IMAGES}: there is no split {split!r}.{nearest(str(split), splits)}{flat}")
    inside = split if (root / IMAGES / split).is_dir() else ""
    return root / IMAGES / inside, require_folder(root / LABELS / inside, EXPECTED)
