"""The dataset "ade20k": scenes in the 150 classes of the MIT Scene Parsing Challenge 2016.

ROOT/images/training/ADE_train_00000001.jpg goes with ROOT/annotations/training/ADE_train_00000001.png, whose value 0
is "other objects" and 1 to 150 are the classes.
"""

from dataclasses import dataclass
from pathlib import Path

from ..description import Description
from ..errors import DataError
from ..labels import LabelReader, MappedLabels
from ..sample import IGNORE_INDEX
from .official import Official
from .pairs import Listing, Names, Pairs, match, stem
from .tree import list_files

PICTURES, LABELS = "images", "annotations"
FOLDERS = {"train": "training", "val": "validation"}
ARCHIVE = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"

CLASSES = [
    # "#rrggbb name" per line; names and colours as in mmsegmentation 1.2.2, mmseg/utils/class_names.py
    (name, bytes.fromhex(colour.removeprefix("#")))
    for colour, _, name in (
        line.partition(" ") for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    )
]


@dataclass(frozen=True, kw_only=True)
class Ade20k(Official):
    """Indoor and outdoor scenes, 150 classes: ADEChallengeData2016 as it is downloaded."""

    description = Description(
        title="ADE20K, scene parsing challenge 2016",
        page="http://sceneparsing.csail.mit.edu",
        terms="Pictures for non-commercial research and education only; annotations under the BSD 3-clause licence.",
        classes=tuple(name for name, _ in CLASSES),
        palette=tuple((red, green, blue) for _, (red, green, blue) in CLASSES),
        sizes={"train": 20210, "val": 2000},
        tree="images/{training,validation}/*.jpg\nannotations/{training,validation}/*.png",
        unpacked="ADEChallengeData2016",
    )

    def present(self, root: Path, split: str) -> bool:
        """Return whether the split has a folder of pictures."""
        return (root / PICTURES / FOLDERS[split]).is_dir()

    def list_split(self, root: Path, split: str) -> Listing:
        """Pair pictures and labels by name."""
        _refuse_full_release(root)
        pictures, labels = (self.require(root / kind / FOLDERS[split]) for kind in (PICTURES, LABELS))
        return match(
            Names(pictures, list_files(pictures, (".jpg",)), stem), Names(labels, list_files(labels, (".png",)), stem)
        )

    def read_label(self, pairs: Pairs) -> LabelReader:  # noqa: ARG002
        """Return a reader that drops 0 and takes 1 from the others."""
        classes = range(len(self.description.classes))
        return MappedLabels(classes={0: IGNORE_INDEX} | {place + 1: place for place in classes})


def _refuse_full_release(root: Path) -> None:
    """Raise DataError if `root` holds the full ADE20K: thousands of classes in colour, in files *_seg.png."""
    if (root / LABELS).is_dir():
        return
    found = next((file for start in (PICTURES, f"*/{PICTURES}") for file in root.glob(f"{start}/**/*_seg.png")), None)
    if found is not None:
        raise DataError(
            f"{found}: this is the full ADE20K, whose labels are not those of the 150 classes; "
            f"fetch {ARCHIVE} and give the folder where it is unpacked."
        )
