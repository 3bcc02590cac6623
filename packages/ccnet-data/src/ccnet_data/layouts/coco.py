"""COCO 2017 with its instances, and your own pictures annotated in the same form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from ..classes import PaletteOption, default_palette, read_classes, resolve
from ..description import Description
from ..errors import DataError, nearest
from ..options import Fault, Option, one_of, path, text, whole_number
from ..pictures import PICTURE_SUFFIXES
from ..sample import SegmentationDataset
from ..source import Source, faults_of
from .annotations import AnnotationFile, read_annotations
from .categories import CLASSES, own_classes, published_classes
from .division import SPLITS, TRAIN, keep_side, read_fraction
from .objects import ObjectDataset
from .pairs import Names, Pairs, refuse
from .places import Places
from .regions import require_pycocotools
from .tree import list_files, require_folder

KEEP, DROP = "keep", "drop"
ANNOTATIONS, PICTURES = "annotations/instances_{split}2017.json", "{split}2017"
EXPECTED = "root must hold annotations/instances_{train,val}2017.json, {train,val}2017/*.jpg"
OWN_EXPECTED = "annotations must name a file in COCO's form, and pictures a folder, both as seen from root"


@dataclass(frozen=True, kw_only=True)
class Coco(Source):
    """Objects with boxes, masks and classes: COCO 2017, or your own; needs the extra ccnet-data[coco].

    With `classes` or `annotations` the categories are your own, and nothing is held against what was published.
    """

    description = Description(
        title="COCO 2017 instances",
        page="https://cocodataset.org/#download",
        terms="The annotations are CC BY 4.0; each picture keeps the Flickr licence that the annotation file names.",
        classes=CLASSES,
        palette=default_palette(len(CLASSES)),
        sizes={"train": 118287, "val": 5000},
        tree=(
            "annotations/instances_{train,val}2017.json  annotations_trainval2017.zip\n"
            "{train,val}2017/*.jpg  train2017.zip, val2017.zip"
        ),
    )

    root: Annotated[Path | None, Option(path, "folder of the dataset, as `ccnet-data info coco` shows it")] = None
    annotations: Annotated[
        str | None, Option(text, "your own annotation file, as seen from root; {split} in it stands for the split")
    ] = None
    pictures: Annotated[
        str | None, Option(text, "folder of your own pictures, as seen from root; that of the file if not given")
    ] = None
    classes: Annotated[
        tuple[str, ...] | None, Option(read_classes, "your own categories by name; those of the file if not given")
    ] = None
    palette: PaletteOption = None
    val_fraction: Annotated[
        float | None, Option(read_fraction, "divide your own file: about this share of its pictures is the split val")
    ] = None
    seed: Annotated[int, Option(whole_number(0, 2**32 - 1), "another seed divides in another way")] = 0
    empty: Annotated[
        str, Option(one_of(KEEP, DROP), "pictures without an object; training mostly drops them, evaluation never")
    ] = KEEP

    def described(self) -> Description | None:
        """Return the facts of COCO 2017, unless the categories are your own."""
        return self.description if self.classes is None and self.annotations is None else None

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have an annotation file of their own; of one file it is "train"."""
        places, described = self._places(), self.described()
        if not places.by_split:
            return (TRAIN,) if self.val_fraction is None else SPLITS
        return tuple(split for split in places.splits() if described is None or split in described.sizes)

    def faults(self, split: str | None) -> list[Fault]:
        """Return the first faults of the folders, the annotation files and their categories; no picture is opened."""

        def open_all() -> None:
            for each in [split] if split is not None else self.splits() or self.description.sizes:
                self.open(each)

        return faults_of(root=open_all)

    def open(self, split: str) -> SegmentationDataset:
        """Return the pictures that the annotation file of `split` lists, in the order of their names."""
        dataset, faults = self.partial(split)
        refuse(faults)
        return dataset

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Return the listed pictures that are there. Missing ones are faults, as is what fits nothing in the file."""
        require_pycocotools()
        described, places = self.described(), self._places()
        known = SPLITS if self.val_fraction is not None else described and described.sizes
        if known and split not in known:
            raise DataError(f"{self._title()} has no split {split!r}.{nearest(split, known)}")
        annotations = read_annotations(places.file(split), boxes=True)
        mapped = published_classes(annotations) if described else own_classes(annotations, self.classes)
        classes, palette = resolve(mapped.classes, self.palette, None)
        pictures, faults = self._pictures(annotations, places.folder(split), split)
        dataset = ObjectDataset(
            pictures=pictures, annotations=annotations, positions=mapped.positions, classes=classes, palette=palette
        )
        return cast(SegmentationDataset, dataset), (*annotations.faults, *mapped.faults, *faults)

    def _pictures(self, annotations: AnnotationFile, folder: Path, split: str) -> tuple[Names, list[str]]:
        """Return the pictures of the annotation file, and a fault for each that is not on disk.

        With empty="drop" those are left out that have no object, or only crowds, as detectron2 does for training
        (filter_images_with_only_crowd_annotations).
        """
        on_disk = set(list_files(folder, PICTURE_SUFFIXES))
        names: dict[str, str] = {}
        faults = []
        where = "" if self.described() else " Give pictures=DIR if they lie elsewhere."
        for name, wanted in zip(annotations.names, annotations.objects >= (self.empty == DROP), strict=True):
            if not (name in on_disk or ("/" in name and (folder / name).is_file())):
                faults.append(f"{folder / name}: there is no such picture, but {annotations.file} lists it.{where}")
            elif wanted and names.setdefault(_key(name), name) != name:
                faults.append(f"{folder / name}: another picture has the same name but for its ending; rename one.")
        if not names and not faults:
            raise DataError(f"{annotations.file}: the split {split!r} is empty; list pictures there.")
        pictures = Names(folder, names.values(), _key)
        if self.val_fraction is not None:
            keep_side(Pairs(pictures, None), split, self.val_fraction, self.seed)
        return pictures, faults

    def _places(self) -> Places:
        if self.annotations is None:
            if self.root is None:
                raise DataError(f"root is missing: give root=DIR; {EXPECTED}.")
            places = Places(
                root=self.root, annotations=ANNOTATIONS, pictures=self.pictures or PICTURES, expected=EXPECTED
            )
        else:
            root = self.root or Path()
            places = Places(root=root, annotations=self.annotations, pictures=self.pictures, expected=OWN_EXPECTED)
        if self.val_fraction is not None and places.by_split:
            raise DataError("val_fraction divides the pictures of one file; give annotations=FILE, without {split}.")
        require_folder(places.root, places.expected)
        return places

    def _title(self) -> str:
        return self.description.title if self.annotations is None else self.annotations


def _key(name: str) -> str:
    """Return the name without its ending, the id of the sample; folders stay, as names repeat in them."""
    return name.rpartition(".")[0] or name
