"""Pictures with the objects of a COCO annotation file: a box, a mask and a class for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..pictures import read_file, read_picture
from ..sample import API_VERSION, IGNORE_INDEX, Colour, Instances, position
from .annotations import AnnotationFile
from .pairs import Names
from .regions import polygon_parts, region_mask


@dataclass(frozen=True, kw_only=True)
class ObjectDataset:
    """The `pictures` of an annotation file: one `Instances` each, its objects in the order of the file.

    `positions` are those of the categories in `classes`, by their ids. Boxes are cut to the picture; an object whose
    box then has no width or no height is left out, as is one whose polygons all have fewer than three points. Samples
    hold `areas`: where the file gives none, the pixels of the mask. Reading raises DataError, naming the file and the
    annotation, when a picture is damaged or has another size than was annotated, when a category has no position, and
    when a region cannot be drawn.
    """

    pictures: Names
    annotations: AnnotationFile
    positions: Mapping[int, int]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]

    api_version = API_VERSION
    task = "instances"
    ignore_index = IGNORE_INDEX
    flip_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: SupportsIndex) -> Instances:
        number = position(index, len(self))
        file = self.pictures.file(number)
        image = read_picture(read_file(file), str(file))
        size = image.shape[1], image.shape[2]
        objects = list(self._objects(number, size))
        masks = np.empty((len(objects), *size), bool)
        for place, (_, annotation) in enumerate(objects):
            masks[place] = region_mask(annotation["segmentation"], size, self._where(annotation))
        drawn = masks.sum((1, 2)).tolist()
        areas = [annotation.get("area", area) for (_, annotation), area in zip(objects, drawn, strict=True)]
        return {
            "image": image,
            "boxes": np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
            "masks": masks,
            "classes": np.array([self._class(annotation) for _, annotation in objects], np.int64),
            "crowd": np.array([bool(annotation.get("iscrowd", 0)) for _, annotation in objects], bool),
            "areas": np.array(areas, np.float64),
            "id": self.pictures.key(self.pictures.names[number]),
        }

    def _objects(self, number: int, size: tuple[int, int]) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
        """Yield the box of each object and its annotation."""
        file = self.pictures.file(number)
        place = self.annotations.find(self.pictures.names[number])
        if place is None:
            raise DataError(f"{file}: is not in {self.annotations.file}; add it there, or remove it.")
        height, width = self.annotations.sizes[place]
        if (height, width) != size:
            raise DataError(
                f"{file}: is {size[1]}x{size[0]} (width x height, upright), but {self.annotations.file} describes "
                f"a picture of {width}x{height}; fetch the picture again, or correct its entry."
            )
        for annotation in self.annotations.annotations(place):
            box = clipped_box(annotation["bbox"], size)
            region = annotation["segmentation"]
            if (box[:2] < box[2:]).all() and (isinstance(region, dict) or polygon_parts(region)):
                yield box, annotation

    def _class(self, annotation: Mapping[str, Any]) -> int:
        number = annotation["category_id"]
        if number not in self.positions:
            name = self.annotations.categories[number]
            raise DataError(f"{self._where(annotation)} is of category {number}, {name!r}, none of the classes.")
        return self.positions[number]

    def _where(self, annotation: Mapping[str, Any]) -> str:
        return f"{self.annotations.file}: annotation {annotation['id']}"


def clipped_box(box: Sequence[float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return [left, top, width, height] as left, top, right, bottom within a picture of `size` (height, width)."""
    left, top, width, height = box
    corners = np.array([left, top, left + width, top + height])
    return corners.clip(0, [size[1], size[0]] * 2).astype(np.float32)
