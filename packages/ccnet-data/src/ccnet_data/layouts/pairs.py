"""Datasets whose samples are two files: a picture and a label map."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np

from ..errors import DataError, enumerate_some
from ..labels import LabelReader
from ..pictures import read_file, read_picture, require_same_size
from ..sample import API_VERSION, IGNORE_INDEX, Colour, Sample, position
from ..texts import Texts

Key = Callable[[str], str]
"""What a picture and its label have in common, made of the name of either."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files of one sample and its name within the split. A split without published labels has none."""

    id: str
    picture: Path
    label: Path | None


class Names:
    """The files of one kind of a split: names relative to `folder`, in the order of their keys."""

    def __init__(self, folder: Path, names: Iterable[str], key: Key) -> None:
        self.folder, self.key = folder, key
        self.names = Texts(sorted(names, key=key))

    def __len__(self) -> int:
        return len(self.names)

    def file(self, index: int) -> Path:
        """Return the path of file `index`."""
        return self.folder / self.names[index]

    def keep(self, indices: Iterable[int]) -> None:
        """Leave out all but `indices`, which are in order."""
        self.names = Texts(self.names[index] for index in indices)


class Pairs(Sequence[Pair]):
    """The pairs of a split in the order of their keys; a key is the id of the sample."""

    def __init__(self, pictures: Names, labels: Names | None) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return Pair(
            id=self.pictures.key(self.pictures.names[index]),
            picture=self.pictures.file(index),
            label=None if self.labels is None else self.labels.file(index),
        )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The pairs of a split, and one sentence for each file that has no partner."""

    pairs: Pairs
    faults: tuple[str, ...] = ()


def refuse(faults: tuple[str, ...]) -> None:
    """Raise DataError with the first of `faults`, if there are any."""
    if faults:
        raise DataError(enumerate_some(faults, limit=3, separator=" "))


def match(pictures: Names, labels: Names) -> Listing:
    """Pair the files of equal key. A fault names each file that is alone, and each that shares its key with another."""
    kept: tuple[list[int], list[int]] = ([], [])
    faults = []
    place, other = 0, 0
    last = None
    while place < len(pictures) or other < len(labels):
        picture_key = pictures.key(pictures.names[place]) if place < len(pictures) else None
        label_key = labels.key(labels.names[other]) if other < len(labels) else None
        if picture_key == label_key:
            kept[0].append(place)
            kept[1].append(other)
            last = picture_key
            place, other = place + 1, other + 1
        elif label_key is None or (picture_key is not None and picture_key < label_key):
            faults.append(_alone(pictures.file(place), picture_key == last, "label", labels.folder))
            place += 1
        else:
            faults.append(_alone(labels.file(other), label_key == last, "picture", pictures.folder))
            other += 1
    if faults:
        pictures.keep(kept[0])
        labels.keep(kept[1])
    return Listing(pairs=Pairs(pictures, labels), faults=tuple(faults))


def _alone(file: Path, repeated: bool, partner: str, folder: Path) -> str:
    if repeated:
        return f"{file}: another file has the same name but for its ending; rename or remove one."
    return f"{file}: has no {partner} of the same name in {folder}; add it, or remove this file."


@dataclass(frozen=True, kw_only=True)
class PairDataset:
    """A split read file by file: one `Sample` per pair, decoded when asked for.

    The label of a pair without one is 255 everywhere. Reading raises DataError, naming the file, when one is damaged,
    when `read_label` refuses a label, or when picture and label differ in size.
    """

    pairs: Sequence[Pair]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    read_label: LabelReader
    flip_pairs: tuple[tuple[int, int], ...] = ()

    api_version = API_VERSION
    task = "segmentation"
    ignore_index = IGNORE_INDEX

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        return self.read(self.pairs[position(index, len(self))])

    def read(self, pair: Pair) -> Sample:
        """Return the sample of `pair`."""
        image = read_picture(read_file(pair.picture), str(pair.picture))
        if pair.label is None:
            label = np.full(image.shape[1:], IGNORE_INDEX, np.uint8)
        else:
            label = self.read_label(read_file(pair.label), str(pair.label))
            require_same_size(image, label, f"{pair.picture} and {pair.label}")
        return {"image": image, "label": label, "id": pair.id}
