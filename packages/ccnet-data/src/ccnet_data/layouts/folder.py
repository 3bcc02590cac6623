"""The dataset "folder": your own pictures and label maps, paired by file name.

ROOT/images/a.jpg goes with ROOT/labels/a.png. With splits, ROOT/images/train/a.jpg goes with ROOT/labels/train/a.png.
In place of label maps there may be polygons: labels/a.json of labelme, or labels/annotations.json in COCO's form.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..classes import ClassesOption, PaletteOption, resolve
from ..errors import DataError, enumerate_some, nearest
from ..labels import ClassLabels
from ..options import Fault, Option, one_of, path, whole_number
from ..pictures import PICTURE_SUFFIXES
from ..sample import SegmentationDataset
from ..source import Source, faults_of
from .annotated import AnnotatedDataset
from .annotations import read_annotations
from .division import SPLITS, keep_side, read_fraction
from .labelme import LabelmeLabels
from .pairs import Listing, Names, PairDataset, match, refuse, stem
from .tree import found_in, list_files, list_folders, require_folder

IMAGES, LABELS = "images", "labels"
EXPECTED = f"root must hold {IMAGES}/ and {LABELS}/"
FLAT_SPLIT = "train"
"""The one split of a root without split folders. Another name would give the same pictures for training and testing."""
LABELME, COCO = "labelme", "coco"
ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Your own files: ROOT/images/NAME.jpg with ROOT/labels/NAME.png, flat or in a sub-folder per split."""

    root: Annotated[Path | None, Option(path, "folder that holds images/ and labels/")] = None
    classes: ClassesOption = None
    palette: PaletteOption = None
    val_fraction: Annotated[
        float | None, Option(read_fraction, "divide a flat folder: about this share of the pictures is the split val")
    ] = None
    seed: Annotated[int, Option(whole_number(0, 2**32 - 1), "another seed divides in another way")] = 0
    polygons: Annotated[
        str | None, Option(one_of(LABELME, COCO), "labels/NAME.json (labelme) or labels/annotations.json (coco)")
    ] = None

    def splits(self) -> tuple[str, ...]:
        """Return the sub-folders of images/, or "train", with `val_fraction` "train" and "val", if it has none."""
        splits = list_splits(self._given_root())
        if self.val_fraction is None:
            return tuple(splits)
        if list_folders(self._given_root() / IMAGES):
            raise DataError(
                f"{self._given_root() / IMAGES}: val_fraction divides a flat folder, but there are split folders "
                f"({enumerate_some(splits)}); leave val_fraction out, or move all pictures to {IMAGES}/."
            )
        return SPLITS

    def faults(self, split: str | None) -> list[Fault]:
        """Return the faults of the class names and of the folders; files are paired but not opened."""

        def pair_up() -> None:
            for each in self.splits() if split is None else [split]:
                refuse(self._listing(each).faults)

        return faults_of(classes=lambda: resolve(self.classes, self.palette, self.root), root=pair_up)

    def open(self, split: str) -> SegmentationDataset:
        """Pair the files of `split`, in the order of their names."""
        dataset, faults = self.partial(split)
        refuse(faults)
        return dataset

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Pair the files of `split` as far as they have partners."""
        classes, palette = resolve(self.classes, self.palette, self.root)
        listing = self._listing(split)
        labels = listing.pairs.labels
        if self.polygons == COCO and labels is not None:
            annotations = read_annotations(labels.folder, boxes=False)
            annotated = AnnotatedDataset(pairs=listing.pairs, annotations=annotations, classes=classes, palette=palette)
            return annotated, listing.faults
        read_label = LabelmeLabels(classes=classes) if self.polygons == LABELME else ClassLabels(count=len(classes))
        dataset = PairDataset(pairs=listing.pairs, classes=classes, palette=palette, read_label=read_label)
        return dataset, listing.faults

    def _listing(self, split: str) -> Listing:
        images, labels = split_folders(self._given_root(), split, self.splits())
        pictures = Names(images, list_files(images, PICTURE_SUFFIXES), _key)
        if not pictures:
            raise DataError(f"{images}: holds no pictures ({', '.join(PICTURE_SUFFIXES)}); {found_in(images)}.")
        if self.polygons == COCO:
            annotations = read_annotations(labels / ANNOTATIONS, boxes=False)
            listing = match(pictures, Names(annotations.file, annotations.names, _key))
            listing = Listing(pairs=listing.pairs, faults=(*annotations.faults, *listing.faults))
        else:
            ending = ".json" if self.polygons == LABELME else ".png"
            maps = Names(labels, list_files(labels, (ending,)), _key)
            if not maps:
                raise DataError(f"{labels}: holds no labels ({ending}); {found_in(labels)}.")
            listing = match(pictures, maps)
        if self.val_fraction is not None and listing.pairs:
            keep_side(listing.pairs, split, self.val_fraction, self.seed)
        return listing

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


def split_folders(root: Path, split: str, splits: Sequence[str]) -> tuple[Path, Path]:
    """Return the folders of the pictures and of the labels of `split`, one of `splits`."""
    images = root / IMAGES
    if split not in splits:
        flat = ""
        if list(splits) == [FLAT_SPLIT] and not list_folders(images):
            flat = f" Without sub-folders in {images} there is one split; val_fraction=0.2 makes two."
        raise DataError(f"{images}: there is no split {split!r}.{nearest(str(split), splits)}{flat}")
    inside = split if (images / split).is_dir() else ""
    return images / inside, require_folder(root / LABELS / inside, EXPECTED)


def _key(name: str) -> str:
    """Return the name without its ending; composed and decomposed Unicode spell the same name."""
    return unicodedata.normalize("NFC", stem(name))
