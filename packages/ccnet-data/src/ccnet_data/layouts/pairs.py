"""Datasets whose samples are two files: a picture and a label map."""

from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

from ..pictures import read_file, read_label, read_picture, require_same_size
from ..sample import API_VERSION, IGNORE_INDEX, Colour, Sample, position


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files of one sample and its name within the split."""

    id: str
    picture: Path
    label: Path


@dataclass(frozen=True, kw_only=True)
class PairDataset:
    """A split read file by file: one `Sample` per pair, decoded when asked for.

    Reading raises DataError, naming the file, when one is damaged, when a label lies outside `classes`, or when picture
    and label differ in size.
    """

    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

    api_version = API_VERSION
    task = "segmentation"
    ignore_index = IGNORE_INDEX

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        pair = self.pairs[position(index, len(self))]
        image = read_picture(read_file(pair.picture), str(pair.picture))
        label = read_label(read_file(pair.label), str(pair.label), len(self.classes))
        require_same_size(image, label, f"{pair.picture} and {pair.label}")
        return {"image": image, "label": label, "id": pair.id}
