"""COCO's annotation files: walked through once, then read piece by piece from where the pieces lie.

Of a file as large as instances_train2017.json (118,287 pictures, 860,001 annotations, 519 MB) the index keeps 23 MB,
and 230 MB are taken while it is made; pycocotools keeps 2.8 GB, in every process that reads from it.
"""

import functools
import json
import sys
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, reading
from ..texts import Texts
from .json_pieces import Piece, pieces
from .regions import region_fault

_LARGEST = 2**53
"""Ids above it are not whole numbers in every program that writes JSON."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationFile:
    """The pictures of an annotation file in the order of their names, and where the annotations of each one lie.

    `sizes` is int64 (pictures, 2): height and width. `spans` is int64 (annotations, 2): an annotation's first byte and
    the one after its last; those of picture n are rows `first[n]` to `first[n + 1]`. `objects`, int64 (pictures,),
    counts those that are no crowd. `examples` has the id of an annotation of each category that has any. `faults` holds
    one sentence for each entry that was left out.
    """

    file: Path
    categories: dict[int, str]
    names: Texts
    sizes: NDArray[np.int64]
    spans: NDArray[np.int64]
    first: NDArray[np.int64]
    objects: NDArray[np.int64]
    examples: dict[int, int]
    faults: tuple[str, ...]

    def find(self, name: str) -> int | None:
        """Return the position of the picture with this file name, or None."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else None

    def annotations(self, number: int) -> list[dict[str, Any]]:
        """Return the annotations of picture `number` in the order of the file. Raises DataError if it has changed."""
        spans = self.spans[self.first[number] : self.first[number + 1]]
        try:
            with self.file.open("rb") as stream:
                return [_read(stream, *span) for span in spans.tolist()]
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file}: has changed since it was opened ({error}); open it again.") from error


def read_annotations(file: Path, *, boxes: bool) -> AnnotationFile:
    """Index `file`; annotations without a region, and with `boxes` without a box, become faults.

    Raises DataError if it is no annotation file. Going through that of COCO's training split takes as long as parsing
    it, so the indices of four files are kept for as long as the files stay the same.
    """
    with reading(file):
        state = file.stat()
        return _index(file, boxes, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _index(file: Path, boxes: bool, _modified: int, _size: int) -> AnnotationFile:
    entries = _Entries(file, boxes)
    with file.open("rb") as stream:
        for piece in pieces(stream, str(file)):
            entries.add(piece)
    return entries.index()


def _read(stream: BinaryIO, start: int, end: int) -> dict[str, Any]:
    stream.seek(start)
    entry = json.loads(stream.read(end - start))
    if not isinstance(entry, dict) or "segmentation" not in entry:
        raise ValueError("an annotation is not where it was")
    return entry


class _Picture(NamedTuple):
    name: str
    id: int
    height: int
    width: int


class _Entries:
    """What is collected on the way through an annotation file, whose lists may come in any order."""

    def __init__(self, file: Path, boxes: bool) -> None:
        self.file, self.boxes = file, boxes
        self.categories: dict[int, str] = {}
        self.pictures: list[_Picture] = []
        self.rows = array("q")
        self.faults: list[str] = []
        self.missing = {"images", "annotations", "categories"}

    def add(self, piece: Piece) -> None:
        """Take up an entry of one of the three lists."""
        if piece.number is None and piece.value is None:
            self.missing.discard(piece.key)
        take = {"images": self._picture, "annotations": self._annotation, "categories": self._category}.get(piece.key)
        if take is None or piece.number is None:
            return
        entry = piece.value if isinstance(piece.value, dict) else {}
        fault = take(entry, piece) if _is_whole(entry.get("id")) else "has no id, a whole number"
        if fault:
            name = f"entry {piece.number}" if "id" not in entry else repr(entry["id"])
            self._fault(f"{piece.key} {name} {fault}")

    def index(self) -> AnnotationFile:
        """Return the entries that belong together."""
        if self.missing:
            missing = ", ".join(sorted(self.missing))
            raise DataError(f"{self.file}: no COCO annotation file, for it has no list of {missing}; export it again.")
        self._drop_repeated_pictures()
        rows, owners = self._related()
        order = np.argsort(owners, kind="stable")
        count = len(self.pictures)
        return AnnotationFile(
            file=self.file,
            categories=self.categories,
            names=Texts(picture.name for picture in self.pictures),
            sizes=np.array([(each.height, each.width) for each in self.pictures], np.int64).reshape(-1, 2),
            spans=rows[order, 3:5],
            first=np.concatenate(([0], np.bincount(owners, minlength=count).cumsum())),
            examples=dict(zip(rows[::-1, 2].tolist(), rows[::-1, 0].tolist(), strict=True)),
            objects=np.bincount(owners[rows[:, 7] == 0], minlength=count),
            faults=tuple(self.faults),
        )

    def _picture(self, entry: dict[str, Any], _piece: Piece) -> str | None:
        name: Any = entry.get("file_name")
        height: Any = entry.get("height")
        width: Any = entry.get("width")
        if not isinstance(name, str) or not name or "\0" in name:
            return "has no file_name"
        if not (_is_whole(height) and _is_whole(width) and height > 0 and width > 0):
            return "has no height and width, whole numbers above 0"
        self.pictures.append(_Picture(name, entry["id"], height, width))
        return None

    def _category(self, entry: dict[str, Any], _piece: Piece) -> str | None:
        if not isinstance(entry.get("name"), str):
            return "has no name"
        if entry["id"] in self.categories:
            return "comes twice"
        self.categories[entry["id"]] = entry["name"]
        return None

    def _annotation(self, entry: dict[str, Any], piece: Piece) -> str | None:
        if not (_is_whole(entry.get("image_id")) and _is_whole(entry.get("category_id"))):
            return "has no image_id and category_id, whole numbers"
        if entry.get("iscrowd", 0) not in (0, 1):
            return "has an iscrowd that is neither 0 nor 1"
        if self.boxes and not _is_box(entry.get("bbox")):
            return "has no bbox of four numbers"
        if "area" in entry and not (_is_number(entry["area"]) and entry["area"] >= 0):  # COCO's scores pass over such
            return "has an area that is no number from 0 on"
        region = entry.get("segmentation")
        fault = region_fault(region)
        if not fault:
            size = region["size"] if isinstance(region, dict) else (0, 0)
            ids = entry["id"], entry["image_id"], entry["category_id"]
            self.rows.extend((*ids, piece.start, piece.end, *size, entry.get("iscrowd", 0)))
        return fault

    def _drop_repeated_pictures(self) -> None:
        kept: list[_Picture] = []
        ids: set[int] = set()
        for picture in sorted(self.pictures):
            if picture.id in ids:
                self._fault(f"images {picture.id} comes twice")
            elif kept and kept[-1].name == picture.name:
                self._fault(f"images {picture.id} has the file_name of another one, {picture.name}")
            else:
                kept.append(picture)
                ids.add(picture.id)
        self.pictures = kept

    def _related(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of annotations that fit to the pictures and categories, and the picture of each one.

        Columns are id, image_id, category_id, start, end, height and width of run lengths or 0, iscrowd.
        """
        rows = np.array(self.rows, np.int64).reshape(-1, 8)
        places = {picture.id: place for place, picture in enumerate(self.pictures)}
        owners = np.array([places.get(number, -1) for number in rows[:, 1].tolist()], np.int64)
        sizes = np.array([(0, 0), *((each.height, each.width) for each in self.pictures)], np.int64)[owners + 1]
        repeated = np.ones(len(rows), bool)
        repeated[np.unique(rows[:, 0], return_index=True)[1]] = False
        sound = np.ones(len(rows), bool)
        for wrong, fault in (
            (repeated, "comes twice"),
            (owners < 0, "belongs to a picture that is not listed, image_id {1}"),
            (~np.isin(rows[:, 2], list(self.categories)), "has a category that is not listed, category_id {2}"),
            ((rows[:, 5] > 0) & (rows[:, 5:7] != sizes).any(1), "has run lengths for another picture size, {5}x{6}"),
        ):
            for row in rows[sound & wrong].tolist():
                self._fault(f"annotations {row[0]} {fault.format(*row)}")
            sound &= ~wrong
        return rows[sound], owners[sound]

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self.file}: {text}; mend or remove it.")


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) <= _LARGEST


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(cast(float, value)) <= sys.float_info.max
