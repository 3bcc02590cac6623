"""The dataset "voc12aug": Pascal VOC 2012 with the further labels of SBD for training.

Split "train" is train.txt with the labels of VOC, and aug.txt with those of SBD; "val" is val.txt. This is what the
published models saw. `ccnet_data.prepare` makes SegmentationClassAug/ and aug.txt out of SBD.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..description import Description
from ..errors import enumerate_some
from .official import Official
from .pairs import Listing, Names, Pairs, stem
from .tree import list_files, listed_names, require_folder

PICTURES, LABELS, SBD_LABELS = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
LISTS = "ImageSets/Segmentation"
TRAIN, AUG, VAL = f"{LISTS}/train.txt", f"{LISTS}/aug.txt", f"{LISTS}/val.txt"
PARTS = {"train": {TRAIN: LABELS, AUG: SBD_LABELS}, "val": {VAL: LABELS}}
"""The lists of a split, and the folder that has the labels of each."""
PREPARE = "ccnet-data prepare voc12aug --root DIR --sbd benchmark_RELEASE"

CLASSES = (
    # The colours are those of the palette in VOC's PNG files (VOCdevkit, VOCcode/VOClabelcolormap.m).
    ("background", (0, 0, 0)),
    ("aeroplane", (128, 0, 0)),
    ("bicycle", (0, 128, 0)),
    ("bird", (128, 128, 0)),
    ("boat", (0, 0, 128)),
    ("bottle", (128, 0, 128)),
    ("bus", (0, 128, 128)),
    ("car", (128, 128, 128)),
    ("cat", (64, 0, 0)),
    ("chair", (192, 0, 0)),
    ("cow", (64, 128, 0)),
    ("diningtable", (192, 128, 0)),
    ("dog", (64, 0, 128)),
    ("horse", (192, 0, 128)),
    ("motorbike", (64, 128, 128)),
    ("person", (192, 128, 128)),
    ("pottedplant", (0, 64, 0)),
    ("sheep", (128, 64, 0)),
    ("sofa", (0, 192, 0)),
    ("train", (128, 192, 0)),
    ("tvmonitor", (0, 64, 128)),
)


@dataclass(frozen=True, kw_only=True)
class Voc12Aug(Official):
    """Objects in 21 classes: Pascal VOC 2012 with the training labels of SBD (`ccnet-data prepare voc12aug`)."""

    description = Description(
        title="Pascal VOC 2012 with the labels of SBD",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        terms="The pictures come from Flickr, and their use must respect Flickr's terms of use.",
        classes=tuple(name for name, _ in CLASSES),
        palette=tuple(colour for _, colour in CLASSES),
        sizes={"train": 10582, "val": 1449},
        tree=(
            "JPEGImages/*.jpg\n"
            "SegmentationClass/*.png\n"
            "SegmentationClassAug/*.png  made of SBD by `ccnet-data prepare voc12aug`\n"
            "ImageSets/Segmentation/{train,val,aug}.txt  aug.txt likewise"
        ),
        unpacked="VOCdevkit/VOC2012",
    )

    def present(self, root: Path, split: str) -> bool:
        """Return whether all lists of the split are there."""
        return all((root / name).is_file() for name in PARTS[split])

    def list_split(self, root: Path, split: str) -> Listing:
        """Pair what the lists name. What val.txt names as well is left out of "train", and a fault."""
        parts = {name: part for part in reversed(PARTS[split]) for name in self.names(root, part)}
        shared = sorted(parts.keys() & set(self.names(root, VAL))) if split == "train" else []
        for name in shared:
            del parts[name]
        listing = self._pair(root, parts, PARTS[split])
        if not shared:
            return listing
        leak = f"{root / AUG}: lists {enumerate_some(shared)}, which val.txt lists too; {self._remedy(AUG)}."
        return Listing(pairs=listing.pairs, faults=(leak, *listing.faults))

    def names(self, root: Path, part: str) -> list[str]:
        """Return the names in the list `part`, such as "ImageSets/Segmentation/train.txt"."""
        self.require(root / LISTS)
        return listed_names(root / part, self._remedy(part))

    def _pair(self, root: Path, parts: Mapping[str, str], folders: Mapping[str, str]) -> Listing:
        """Pair each name of `parts` with its label in the folder of its list. What is not there is a fault."""
        there = {folder: self._files(root, folder) for folder in {PICTURES, *folders.values()}}
        kept, faults = [], []
        for name, part in sorted(parts.items()):
            files = {PICTURES: f"{name}.jpg", folders[part]: f"{name}.png"}
            missing = [folder for folder, file in files.items() if file not in there[folder]]
            faults += [
                f"{root / folder / files[folder]}: is not there, but {part} lists it; {self._remedy(folder)}."
                for folder in missing
            ]
            if not missing:
                kept.append(name)
        pictures = Names(root / PICTURES, (f"{name}.jpg" for name in kept), stem)
        labels = Names(root, (f"{folders[parts[name]]}/{name}.png" for name in kept), stem)
        return Listing(pairs=Pairs(pictures, labels), faults=tuple(faults))

    def _files(self, root: Path, folder: str) -> set[str]:
        return set(list_files(require_folder(root / folder, self._remedy(folder)), (".jpg", ".png")))

    def _remedy(self, part: str) -> str:
        if part in (AUG, SBD_LABELS):
            return f"`{PREPARE}` makes it"
        return f"unpack VOCtrainval_11-May-2012.tar again, root must hold {self.expected()}"
