"""Datasets whose samples are rows with a picture and a label map, in a table or in a stream."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, SupportsIndex

from ..errors import DataError
from ..labels import LabelReader
from ..pictures import read_picture, require_same_size
from ..sample import Labelled, Sample, position
from .table import Rows, picture_bytes, reason


class NoLengthError(DataError, TypeError):
    """A stream was asked for its length. As a TypeError it lets `list(stream)` go on without one."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Makes samples of rows; `where` is the name of the table, and without `id_column` the row's number is the id."""

    where: str
    image_column: str
    label_column: str
    id_column: str | None
    read_label: LabelReader

    def sample(self, row: Mapping[str, Any], number: int) -> Sample:
        """Return the sample of row `number`. Raises DataError, naming table, row and column, when it is damaged."""
        where = f"{self.where}, row {number}"
        image_place, label_place = f"{where}, column {self.image_column!r}", f"{where}, column {self.label_column!r}"
        image = read_picture(picture_bytes(row[self.image_column], image_place), image_place)
        label = self.read_label(picture_bytes(row[self.label_column], label_place), label_place)
        require_same_size(image, label, where)
        name = None if self.id_column is None else row[self.id_column]
        return {"image": image, "label": label, "id": f"{number:06d}" if name is None else str(name)}


@dataclass(frozen=True, kw_only=True)
class _RowDataset(Labelled):
    rows: Rows
    reader: RowReader


class TableDataset(_RowDataset):
    """A split read row by row: one `Sample` per row, decoded when asked for."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, len(self))
        return self.reader.sample(self.rows[number], number)


class StreamDataset(_RowDataset):
    """A split that can only be read from its beginning: `for sample in dataset`, as often as wanted.

    It gives the samples of the `TableDataset` of the same rows, in the same order.
    """

    def __iter__(self) -> Iterator[Sample]:
        for number, row in enumerate(self._received()):
            yield self.reader.sample(row, number)

    def __len__(self) -> NoReturn:
        raise NoLengthError(f"{self.reader.where}: a stream has no length; leave streaming=true out to have one.")

    def __getitem__(self, index: SupportsIndex) -> NoReturn:
        raise DataError(
            f"{self.reader.where}: a stream is read from its beginning (for sample in dataset), not at {index!r}; "
            "leave streaming=true out."
        )

    def _received(self) -> Iterator[Mapping[str, Any]]:
        rows, number = iter(self.rows), 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            # A damaged file or a lost connection: types of pyarrow, fsspec, httpx and datasets.
            except Exception as error:
                raise DataError(
                    f"{self.reader.where}, row {number}: cannot be received ({reason(error)}); check file and network."
                ) from error
            yield row
            number += 1
