"""One shard on this machine: mapped into memory, its rows read when asked for."""

import mmap
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..decode import LARGEST
from ..errors import DataError, reading
from ..sample import Sample, position
from .columns import LARGEST_VALUE, Columns
from .manifest import Shard

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

REMEDY = "convert or fetch it again"
_PREFIX = 4
"""Bytes of the length before each value (parquet format, encoding PLAIN of BYTE_ARRAY)."""


class ShardIndex(NamedTuple):
    """What the end of a shard says: its metadata, the first row of each row group, and the place of each column."""

    metadata: "pyarrow.parquet.FileMetaData"
    starts: list[int]
    places: dict[str, int]


class ShardFile:
    """The samples of `shard`, which lies whole in the file at `path`.

    Opening reads the end of the file, unless `index` is that of an earlier opening; a sample its own row group.
    `name` is what errors call the file, its path if not given. Safe under threads; a forked process opens its own.
    Raises DataError where the file is not the shard that was converted, as far as size, columns and number of rows
    tell, and when it is shorter than it was. One that is cut short in the instant between this look and the copy ends
    the process (SIGBUS), as any file that is mapped into memory.
    """

    def __init__(
        self,
        path: Path,
        shard: Shard,
        columns: Columns,
        *,
        name: str | None = None,
        index: ShardIndex | None = None,
    ) -> None:
        self.name, self.columns = name or str(path), columns
        self._map = _mapped(path, shard.bytes)
        with _parsing(self.name):
            self._parquet = _parquet(self._map, index.metadata if index else None)
            self.index = index or self._read_index(shard)
        self._lock = threading.Lock()
        self._latest: tuple[int, pyarrow.Table | None] = -1, None

    def __len__(self) -> int:
        return self.index.starts[-1]

    def sample(self, row: SupportsIndex) -> Sample:
        """Return the sample in `row`, whose arrays belong to the caller. Raises DataError, naming file and row."""
        number = position(row, len(self))
        where = f"{self.name}, row {number}"
        if self._map.size() < len(self._map):
            raise DataError(f"{where}: the file became shorter after it was opened; {REMEDY}.")
        group = bisect_right(self.index.starts, number) - 1
        place = number - self.index.starts[group]
        with _parsing(where):
            table = self._table(group)
            values = table.slice(place, 1).to_pylist()[0]
            if self.columns.is_raw:
                values |= self._arrays(group, table, place)
            return self.columns.sample(values, where)

    def _read_index(self, shard: Shard) -> ShardIndex:
        self._require_columns()
        metadata = self._parquet.metadata
        groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        # Rows are found by the groups; the total that the footer tells on its own may differ in a damaged one.
        if sum(groups) != shard.rows or min(groups) < 1:
            raise DataError(f"{self.name}: has {sum(groups)} rows, not {shard.rows}; {REMEDY}.")
        places = {metadata.schema.column(place).path: place for place in range(metadata.num_columns)}
        return ShardIndex(metadata, [0, *accumulate(groups)], places)

    def _require_columns(self) -> None:
        found, expected = self._parquet.schema_arrow, self.columns.schema()
        if not found.equals(expected):
            raise DataError(f"{self.name}: has the columns {_names(found)}, not {_names(expected)}; {REMEDY}.")

    def _table(self, group: int) -> "pyarrow.Table":
        """Return the row group, of raw shards without the pictures; the latest one is kept for its neighbours."""
        latest, table = self._latest
        if table is not None and latest == group:
            return table
        in_place = self.columns.pixels if self.columns.is_raw else ()
        names = [name for name in self.columns.schema().names if name not in in_place]
        # Arrow promises nothing of a reader that threads share.
        with self._lock:
            table = self._parquet.read_row_group(group, names, use_threads=False)
        self._latest = group, table
        return table

    def _arrays(self, group: int, table: "pyarrow.Table", place: int) -> dict[str, memoryview]:
        """Return the bytes of a raw row's picture, and of its label if there is one, where they lie in the file."""
        height, width = (table.column(name).to_numpy().astype(np.int64) for name in ("height", "width"))
        frames = table.column("frames").to_numpy().astype(np.int64) if self.columns.is_video else 1
        pixels = height * width
        if not ((height > 0) & (width > 0) & (pixels <= LARGEST) & (3 * pixels * frames <= LARGEST_VALUE)).all():
            raise DataError(f"{self.name}, row group {group}: says that it holds no or too large pictures; {REMEDY}.")
        sizes = {"image": 3 * pixels * frames, "label": pixels}
        return {column: self._value(group, column, sizes[column][place:]) for column in self.columns.pixels}

    def _value(self, group: int, column: str, sizes: NDArray[np.int64]) -> memoryview:
        """Return the bytes of a value; `sizes` are its size and those of the values that follow in its row group.

        pyarrow would copy every value of the group, which takes 3 times as long for one of 6 MB. A column that is
        neither compressed nor optional and has one page ends with its values, each after its length.
        """
        chunk = self._parquet.metadata.row_group(group).column(self.index.places[column])
        end = chunk.data_page_offset + chunk.total_compressed_size
        size = int(sizes[0])
        start = end - int(sizes.sum()) - _PREFIX * (len(sizes) - 1)
        is_plain = chunk.compression == "UNCOMPRESSED" and _PREFIX <= start <= len(self._map) - size
        if not is_plain or self._length_before(start) != size:
            raise DataError(f"{self.name}, row group {group}: {column!r} is not where it was written; {REMEDY}.")
        return memoryview(self._map)[start : start + size]

    def _length_before(self, start: int) -> int:
        return int.from_bytes(self._map[start - _PREFIX : start], "little")


def _mapped(path: Path, size: int) -> mmap.mmap:
    with reading(path), path.open("rb") as stream:
        found = stream.seek(0, 2)
        if found != size:
            raise DataError(f"{path}: has {found} bytes, not {size}; {REMEDY}.")
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _parquet(content: mmap.mmap, metadata: "pyarrow.parquet.FileMetaData | None") -> "pyarrow.parquet.ParquetFile":
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)), metadata=metadata, pre_buffer=False)


def _rows(metadata: "pyarrow.parquet.FileMetaData") -> int:
    """Return the sum over the row groups, by which rows are found; the footer also tells a total of its own."""
    return sum(max(0, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups))


def _names(schema: "pyarrow.Schema") -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


@contextmanager
def _parsing(where: str) -> Iterator[None]:
    """Raise what pyarrow and Python raise for damaged bytes, which is of many types, as DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"{where}: not a readable shard ({reason}); {REMEDY}.") from error
