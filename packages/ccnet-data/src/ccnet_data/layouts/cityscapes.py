"""The dataset "cityscapes": street scenes of 50 cities, finely annotated, in the 19 classes that are evaluated.

ROOT/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png goes with
ROOT/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png, or with ..._labelTrainIds.png once these are made.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..description import Description
from ..labels import LabelReader, MappedLabels
from ..sample import IGNORE_INDEX
from .official import Official
from .pairs import Listing, Names, Pairs, match
from .tree import list_files, list_folders

PICTURES, LABELS = "leftImg8bit", "gtFine"
PICTURE_ENDING = "_leftImg8bit.png"
IDS_ENDING, TRAIN_IDS_ENDING = "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
UNLABELLED_SPLIT = "test"
"""Its published labels are dummies without a class."""

CLASSES = (
    # name, label id, colour: cityscapesScripts, helpers/labels.py, in the order of its train ids
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
LAST_ID = 33
IGNORED_IDS = dict.fromkeys((*range(LAST_ID + 1), 255), IGNORE_INDEX)
"""Ids that are not evaluated; 255 is what 8 bits make of -1, the licence plates."""


@dataclass(frozen=True, kw_only=True)
class Cityscapes(Official):
    """Street scenes, 19 classes: leftImg8bit/ and gtFine/ as they are downloaded."""

    description = Description(
        title="Cityscapes, fine annotations",
        page="https://www.cityscapes-dataset.com",
        terms="Registration required; free for non-commercial purposes such as research and teaching.",
        classes=tuple(name for name, _, _ in CLASSES),
        palette=tuple(colour for _, _, colour in CLASSES),
        sizes={"train": 2975, "val": 500, "test": 1525},
        tree=(
            "leftImg8bit/{train,val,test}/CITY/*_leftImg8bit.png  leftImg8bit_trainvaltest.zip\n"
            "gtFine/{train,val}/CITY/*_gtFine_labelIds.png  gtFine_trainvaltest.zip; or *_gtFine_labelTrainIds.png"
        ),
    )

    def present(self, root: Path, split: str) -> bool:
        """Return whether the split has a folder of pictures."""
        return (root / PICTURES / split).is_dir()

    def list_split(self, root: Path, split: str) -> Listing:
        """Pair the files of all cities. Train ids are read if as many files hold them as hold label ids."""
        pictures = _names(self.require(root / PICTURES / split), PICTURE_ENDING)
        if split == UNLABELLED_SPLIT:
            return Listing(pairs=Pairs(pictures, None))
        folder = self.require(root / LABELS / split)
        return match(pictures, max((_names(folder, ending) for ending in (TRAIN_IDS_ENDING, IDS_ENDING)), key=len))

    def read_label(self, pairs: Pairs) -> LabelReader:
        """Return a reader of train ids or of label ids, as the files' names say."""
        if pairs.labels is not None and len(pairs) and pairs.labels.names[0].endswith(TRAIN_IDS_ENDING):
            return super().read_label(pairs)
        return MappedLabels(classes=IGNORED_IDS | {number: place for place, (_, number, _) in enumerate(CLASSES)})


def _names(folder: Path, ending: str) -> Names:
    names = [f"{city}/{name}" for city in list_folders(folder) for name in list_files(folder / city, (ending,))]
    return Names(folder, names, partial(_id, ending=ending))


def _id(name: str, ending: str) -> str:
    """Return "aachen_000000_000019" of "aachen/aachen_000000_000019_leftImg8bit.png"."""
    return name.rpartition("/")[2][: -len(ending)]
