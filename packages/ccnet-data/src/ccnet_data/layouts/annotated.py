"""Pictures whose labels are the regions of one COCO annotation file, drawn as label maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

from ..errors import DataError
from ..pictures import read_file, read_picture, require_same_size
from ..sample import Labelled, Pixels, Sample, position
from .annotations import AnnotationFile
from .canvas import Canvas
from .pairs import Pair
from .regions import coordinates, polygon_parts, region_mask


@dataclass(frozen=True, kw_only=True)
class AnnotatedDataset(Labelled):
    """A split read picture by picture; the label of a pair is a name below the annotation file.

    The names of the categories are names of `classes`; regions later in the file cover earlier ones, crowds included.
    Pixels without a region are "background" if that is a class, otherwise 255. Reading raises DataError, naming the
    file, when a picture is damaged or has another size than was annotated, or when a region cannot be drawn.
    """

    pairs: Sequence[Pair]
    annotations: AnnotationFile

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        pair = self.pairs[position(index, len(self))]
        image = read_picture(read_file(pair.picture), str(pair.picture))
        label = self._draw(pair.label)
        require_same_size(image, label, f"{pair.picture} and {pair.label}")
        return {"image": image, "label": label, "id": pair.id}

    def _draw(self, entry: Path | None) -> Pixels:
        file = self.annotations.file
        number = None if entry is None else self.annotations.find(entry.relative_to(file).as_posix())
        if number is None:
            raise DataError(f"{entry}: there is no such picture in {file}; open the dataset again.")
        height, width = self.annotations.sizes[number].tolist()
        canvas = Canvas((height, width), self.classes, str(entry))
        for annotation in self.annotations.annotations(number):
            where = f"{file}: annotation {annotation['id']}"
            value = canvas.value(self.annotations.categories[annotation["category_id"]], where)
            _draw_region(canvas, annotation["segmentation"], value, where)
        return canvas.label()


def _draw_region(canvas: Canvas, region: object, value: int, where: str) -> None:
    if not isinstance(region, list):
        canvas.mask(region_mask(region, canvas.size, where), (0, 0), value)
        return
    try:
        parts = [coordinates(part, canvas.size) for part in polygon_parts(region)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} has a segmentation that cannot be drawn ({error}); mend or remove it.") from error
    for part in parts:
        canvas.polygon(list(zip(part[::2], part[1::2], strict=True)), value)
