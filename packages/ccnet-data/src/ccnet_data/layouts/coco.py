"""COCO 2017 with its instances: a box, a mask and a class for each object of a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

from ..classes import default_palette
from ..description import Description
from ..errors import DataError
from ..options import Option, one_of
from ..pictures import read_file, read_picture
from ..sample import API_VERSION, IGNORE_INDEX, Colour, Instances, SegmentationDataset, position
from .annotations import AnnotationFile, read_annotations
from .official import Official
from .pairs import Listing, Names, Pair, Pairs, stem
from .regions import polygon_parts, region_mask, require_pycocotools
from .tree import list_files

KEEP, DROP = "keep", "drop"

CATEGORIES = {
    # "id name" per line, the "categories" of instances_train2017.json: ten ids up to 90 were never used
    int(number): name
    for number, _, name in (
        line.partition(" ") for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    )
}
CLASSES = tuple(CATEGORIES.values())
POSITIONS = {number: place for place, number in enumerate(CATEGORIES)}
"""Positions in `CLASSES` by category id."""


@dataclass(frozen=True, kw_only=True)
class Coco(Official):
    """COCO 2017: boxes, masks and classes of objects (task "instances"); needs the extra ccnet-data[coco]."""

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

    empty: Annotated[
        str, Option(one_of(KEEP, DROP), "pictures without an object; training mostly drops them, evaluation never")
    ] = KEEP

    def present(self, root: Path, split: str) -> bool:
        """Return whether there are annotations of `split`."""
        return _annotation_file(root, split).is_file()

    def list_split(self, root: Path, split: str) -> Listing:
        """List the pictures of the annotation file. One that is not on disk is a fault.

        With empty="drop" those are left out that have no object, or only crowds, as detectron2 does for training
        (filter_images_with_only_crowd_annotations).
        """
        require_pycocotools()
        self.require(root / "annotations")
        folder = self.require(root / f"{split}2017")
        annotations = _annotations(root, split)
        on_disk = set(list_files(folder, (".jpg",)))
        wanted = annotations.objects >= (self.empty == DROP)
        names = [name for name, keep in zip(annotations.names, wanted, strict=True) if keep and name in on_disk]
        missing = (name for name in annotations.names if name not in on_disk)
        faults = [
            *annotations.faults,
            *_category_faults(annotations),
            *(f"{folder / name}: there is no such picture, but {annotations.file} lists it." for name in missing),
        ]
        return Listing(pairs=Pairs(Names(folder, names, stem), None), faults=tuple(faults))

    def dataset(self, split: str, pairs: Pairs) -> SegmentationDataset:
        """Return the dataset, whose samples are `Instances`, as its task says."""
        return cast(SegmentationDataset, CocoDataset(pairs=pairs, annotations=_annotations(self.given_root(), split)))


@dataclass(frozen=True, kw_only=True)
class CocoDataset:
    """A split of COCO: one `Instances` per picture, its objects in the order of the annotation file.

    Boxes are cut to the picture; an object whose box then has no width or no height is left out, as is one whose
    polygons all have fewer than three points. Reading raises DataError, naming the file and the annotation, when a
    picture is damaged or has another size than was annotated, and when a region cannot be drawn.
    """

    pairs: Sequence[Pair]
    annotations: AnnotationFile

    api_version = API_VERSION
    task = "instances"
    classes: ClassVar[tuple[str, ...]] = CLASSES
    palette: ClassVar[tuple[Colour, ...]] = Coco.description.palette
    ignore_index = IGNORE_INDEX
    flip_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: SupportsIndex) -> Instances:
        pair = self.pairs[position(index, len(self))]
        image = read_picture(read_file(pair.picture), str(pair.picture))
        height, width = image.shape[1:]
        objects = list(self._objects(pair.picture, (height, width)))
        masks = np.empty((len(objects), height, width), bool)
        for place, (_, annotation) in enumerate(objects):
            where = f"{self.annotations.file}: annotation {annotation['id']}"
            masks[place] = region_mask(annotation["segmentation"], (height, width), where)
        return {
            "image": image,
            "boxes": np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
            "masks": masks,
            "classes": np.array([POSITIONS[annotation["category_id"]] for _, annotation in objects], np.int64),
            "crowd": np.array([bool(annotation.get("iscrowd", 0)) for _, annotation in objects], bool),
            "id": pair.id,
        }

    def _objects(self, picture: Path, size: tuple[int, int]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
        """Yield the box of each object and its annotation."""
        number = self.annotations.find(picture.name)
        if number is None:
            raise DataError(f"{picture}: is not in {self.annotations.file}; add it there, or remove it.")
        height, width = self.annotations.sizes[number]
        if (height, width) != size:
            raise DataError(
                f"{picture}: is {size[1]}x{size[0]} (width x height, upright), but {self.annotations.file} describes "
                f"a picture of {width}x{height}; fetch the picture again."
            )
        for annotation in self.annotations.annotations(number):
            if annotation["category_id"] not in POSITIONS:
                where = f"{self.annotations.file}: annotation {annotation['id']}"
                raise DataError(
                    f"{where} is of category {annotation['category_id']}, none of the 80 of COCO; remove it."
                )
            box = clipped_box(annotation["bbox"], size)
            region = annotation["segmentation"]
            if (box[:2] < box[2:]).all() and (isinstance(region, dict) or polygon_parts(region)):
                yield box, annotation


def clipped_box(box: Sequence[float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return [left, top, width, height] as left, top, right, bottom within a picture of `size` (height, width)."""
    left, top, width, height = box
    corners = np.array([left, top, left + width, top + height])
    return corners.clip(0, [size[1], size[0]] * 2).astype(np.float32)


def _annotation_file(root: Path, split: str) -> Path:
    return root / "annotations" / f"instances_{split}2017.json"


def _annotations(root: Path, split: str) -> AnnotationFile:
    return read_annotations(_annotation_file(root, split), boxes=True)


def _category_faults(annotations: AnnotationFile) -> list[str]:
    """Return a fault for each category of the file that is not COCO's, or has another name there."""
    remedy = 'for classes of your own use the dataset folder with polygons="coco"'
    return [
        f"{annotations.file}: category {number}, {name!r}, is none of the 80 of COCO; {remedy}."
        for number, name in annotations.categories.items()
        if CATEGORIES.get(number) != name
    ]
