"""The dataset "lip": people, cut out of pictures, in 20 parts of body and clothing (Look into Person).

ROOT/train_id.txt lists the names; ROOT/train_images/NAME.jpg goes with ROOT/train_segmentations/NAME.png. Each may also
lie where its archive unpacks: in TrainVal_images/ or TrainVal_parsing_annotations/, once or twice.
"""

from dataclasses import dataclass
from pathlib import Path

from ..description import Description
from .official import Official
from .pairs import Listing, Names, Pairs, stem
from .tree import list_files, listed_names

PICTURES_ARCHIVE, LABELS_ARCHIVE = "TrainVal_images", "TrainVal_parsing_annotations"

CLASSES = (
    # Order of the label values; names and colours as in mmsegmentation 1.2.2, mmseg/datasets/lip.py
    ("Background", (0, 0, 0)),
    ("Hat", (128, 0, 0)),
    ("Hair", (255, 0, 0)),
    ("Glove", (0, 85, 0)),
    ("Sunglasses", (170, 0, 51)),
    ("UpperClothes", (255, 85, 0)),
    ("Dress", (0, 0, 85)),
    ("Coat", (0, 119, 221)),
    ("Socks", (85, 85, 0)),
    ("Pants", (0, 85, 85)),
    ("Jumpsuits", (85, 51, 0)),
    ("Scarf", (52, 86, 128)),
    ("Skirt", (0, 128, 0)),
    ("Face", (0, 0, 255)),
    ("Left-arm", (51, 170, 221)),
    ("Right-arm", (0, 255, 255)),
    ("Left-leg", (85, 255, 170)),
    ("Right-leg", (170, 255, 85)),
    ("Left-shoe", (255, 255, 0)),
    ("Right-shoe", (255, 170, 0)),
)


@dataclass(frozen=True, kw_only=True)
class Lip(Official):
    """People in 20 parts: Look into Person, single person, as it is downloaded."""

    description = Description(
        title="Look into Person (LIP), single person",
        page="http://sysu-hcp.net/lip/",
        terms="See the page; the pictures are cut out of Microsoft COCO, whose terms hold as well.",
        classes=tuple(name for name, _ in CLASSES),
        palette=tuple(colour for _, colour in CLASSES),
        sizes={"train": 30462, "val": 10000},
        tree=(
            "{train,val}_id.txt  one name per line\n"
            "{train,val}_images/*.jpg  TrainVal_images.zip\n"
            "{train,val}_segmentations/*.png  TrainVal_parsing_annotations.zip"
        ),
        flip_pairs=((14, 15), (16, 17), (18, 19)),
    )

    def present(self, root: Path, split: str) -> bool:
        """Return whether the list of the split is there."""
        return _unpacked(root, PICTURES_ARCHIVE, f"{split}_id.txt").is_file()

    def list_split(self, root: Path, split: str) -> Listing:
        """Pair what the list of `split` names. What it does not name is passed over."""
        listing = _unpacked(root, PICTURES_ARCHIVE, f"{split}_id.txt")
        names = sorted(set(listed_names(listing, f"root must hold {self.expected()}")))
        pictures = self.require(_unpacked(root, PICTURES_ARCHIVE, f"{split}_images"))
        labels = self.require(_unpacked(root, LABELS_ARCHIVE, f"{split}_segmentations"))
        missing: dict[str, list[str]] = {}
        for folder, ending in ((pictures, ".jpg"), (labels, ".png")):
            there = set(list_files(folder, (ending,)))
            for name in names:
                if name + ending not in there:
                    fault = f"{folder / (name + ending)}: is not there, but {split}_id.txt lists it; unpack LIP again."
                    missing.setdefault(name, []).append(fault)
        kept = [name for name in names if name not in missing]
        pairs = Pairs(
            Names(pictures, (f"{name}.jpg" for name in kept), stem),
            Names(labels, (f"{name}.png" for name in kept), stem),
        )
        return Listing(pairs=pairs, faults=tuple(fault for faults in missing.values() for fault in faults))


def _unpacked(root: Path, archive: str, name: str) -> Path:
    """Return the file or folder `name` in `root` or in the folder `archive`, which may lie in another of that name."""
    ways = (root / name, root / archive / name, root / archive / archive / name)
    return next((way for way in ways if way.exists()), ways[0])
