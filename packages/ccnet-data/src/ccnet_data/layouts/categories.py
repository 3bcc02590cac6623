"""Which class a category of an annotation file is: one of COCO's 80, or one of your own."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..classes import read_classes
from ..errors import DataError, nearest
from .annotations import AnnotationFile

CATEGORIES = {
    # "id name" per line, the "categories" of instances_train2017.json: ten ids up to 90 were never used
    int(number): name
    for number, _, name in (
        line.partition(" ") for line in Path(__file__).with_name("coco.txt").read_text(encoding="utf-8").splitlines()
    )
}
CLASSES = tuple(CATEGORIES.values())


class ClassMap(NamedTuple):
    """The class names, the position in them of each category by its id, and a sentence for each one without any."""

    classes: tuple[str, ...]
    positions: dict[int, int]
    faults: tuple[str, ...]


def published_classes(annotations: AnnotationFile) -> ClassMap:
    """Return the 80 classes of COCO; a category that is not COCO's, or has another name there, is a fault."""
    others = {number: name for number, name in annotations.categories.items() if CATEGORIES.get(number) != name}
    faults = (
        f"{annotations.file}: category {number}, {name!r}, is none of the 80 of COCO; "
        "give classes=[...] to name your own."
        for number, name in others.items()
    )
    positions = {number: place for place, number in enumerate(CATEGORIES) if number not in others}
    return ClassMap(CLASSES, positions, tuple(faults))


def own_classes(annotations: AnnotationFile, names: tuple[str, ...] | None) -> ClassMap:
    """Return the classes `names`, or without them all categories in the order of their ids.

    A category that has annotations and is not in `names` is a fault. Raises DataError for categories that cannot all be
    classes.
    """
    categories = dict(sorted(annotations.categories.items()))
    classes = _read(categories.values(), annotations) if names is None else names
    faults = (
        f"{annotations.file}: annotation {annotations.examples[number]} is of category {number}, {name!r}, "
        f"which is not in classes.{nearest(name, classes)} Add it there, or remove its annotations."
        for number, name in categories.items()
        if name not in classes and number in annotations.examples
    )
    positions = {number: classes.index(name) for number, name in categories.items() if name in classes}
    return ClassMap(classes, positions, tuple(faults))


def _read(names: Iterable[str], annotations: AnnotationFile) -> tuple[str, ...]:
    try:
        return read_classes(list(names))
    except DataError as fault:
        raise DataError(f"{annotations.file}: categories {fault} Or give classes=[...].") from fault
