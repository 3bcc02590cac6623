"""Datasets whose samples are two files: a picture and a label map."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np

from ..errors import DataError, enumerate_some
from ..labels import LabelReader
from ..pictures import read_file, read_picture, require_same_size
from ..sample import IGNORE_INDEX, Labelled, Pixels, Sample, position
from ..texts import Texts

Key = Callable[[str], str]
"""What a picture and its label have in common, made of the name of either."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files of one sample and its name within the split. A split without published labels has none."""

    id: str
    picture: Path
    label: Path | None


def stem(name: str) -> str:
    """Return the name of a file without its folders and its ending, the usual key."""
    # PurePath(name).stem takes fifteen times as long, which shows in a folder of a million files.
    return name.rpartition("/")[2].rsplit(".", 1)[0]


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

    def keys(self) -> Iterator[str]:
        """Yield the key of each file, in order."""
        return map(self.key, self.names)

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
    left, end = (enumerate(pictures.keys()), enumerate(labels.keys())), (-1, None)
    alone: tuple[set[int], set[int]] = set(), set()
    faults = []
    last = None
    (place, picture), (other, label) = next(left[0], end), next(left[1], end)
    while picture is not None or label is not None:
        if picture == label:
            last = picture
            (place, picture), (other, label) = next(left[0], end), next(left[1], end)
        elif label is None or (picture is not None and picture < label):
            faults.append(_alone(pictures.file(place), picture == last, "label", labels.folder))
            alone[0].add(place)
            place, picture = next(left[0], end)
        else:
            faults.append(_alone(labels.file(other), label == last, "picture", pictures.folder))
            alone[1].add(other)
            other, label = next(left[1], end)
    for names, places in zip((pictures, labels), alone, strict=True):
        if places:
            names.keep([index for index in range(len(names)) if index not in places])
    return Listing(pairs=Pairs(pictures, labels), faults=tuple(faults))


def _alone(file: Path, repeated: bool, partner: str, folder: Path) -> str:
    if repeated:
        return f"{file}: another file has the same name but for its ending; rename or remove one."
    return f"{file}: has no {partner} of the same name in {folder}; add it, or remove this file."


@dataclass(frozen=True, kw_only=True)
class PairDataset(Labelled):
    """A split read file by file: one `Sample` per pair, decoded when asked for.

    The label of a pair without one is 255 everywhere. Reading raises DataError, naming the file, when one is damaged,
    when `read_label` refuses a label, or when picture and label differ in size.
    """

    pairs: Sequence[Pair]
    read_label: LabelReader

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        return self.read(self.pairs[position(index, len(self))])

    def label(self, index: SupportsIndex) -> Pixels:
        """Return the label of the sample at `index` alone; its picture is not decoded if there is a label."""
        pair = self.pairs[position(index, len(self))]
        return self.read(pair)["label"] if pair.label is None else self._read_label(pair.label)

    def read(self, pair: Pair) -> Sample:
        """Return the sample of `pair`."""
        image = read_picture(read_file(pair.picture), str(pair.picture))
        if pair.label is None:
            label = np.full(image.shape[1:], IGNORE_INDEX, np.uint8)
        else:
            label = self._read_label(pair.label)
            require_same_size(image, label, f"{pair.picture} and {pair.label}")
        return {"image": image, "label": label, "id": pair.id}

    def _read_label(self, file: Path) -> Pixels:
        return self.read_label(read_file(file), str(file))
