"""Samples to the file of one shard."""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..sample import Sample
from .columns import Columns
from .manifest import Shard

if TYPE_CHECKING:
    import pyarrow

GROUP_BYTES = 2**20
"""Bytes of pictures in a row group, which a reader of one sample reads whole. A group takes about 270 bytes of the end
of the file."""
GROUP_ROWS = 1024
"""Rows of a group at most: parquet would divide a column of more than 20000 into several pages."""
PART = ".part-"
"""What follows the name of a shard in that of the file it is written to."""


def write_shard(samples: Iterable[Sample], columns: Columns, place: Path) -> Shard:
    """Write `samples` beside `place` and rename the file. The same samples give the same bytes.

    Nothing is left when that fails: DataError for a sample that cannot be read or stored, OSError of the system.
    """
    beside = place.with_name(f".{place.name}{PART}{uuid.uuid4().hex[:12]}")
    try:
        with beside.open("xb") as stream:
            sink = _Hashing(stream)
            rows = _write(samples, columns, sink)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    return Shard(file=place.name, rows=rows, bytes=sink.size, sha256=sink.hash.hexdigest())


def stored_size(row: dict[str, Any]) -> int:
    """Return how many bytes the pictures of a row of `Columns.row` take."""
    return sum(_size(row[name]) for name in ("image", "label", "masks") if name in row)


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value["bytes"] if isinstance(value, dict) else value)


def _write(samples: Iterable[Sample], columns: Columns, sink: "_Hashing") -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = columns.schema(), 0
    # One page for each column of a group, in which raw values lie one after another: `files` finds them there.
    form = {"compression": "NONE", "use_dictionary": False, "write_statistics": False, "data_page_size": 2**31 - 1}
    with pq.ParquetWriter(sink, schema, write_batch_size=GROUP_ROWS, **form) as writer:
        for group in _groups(columns.row(sample) for sample in samples):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if group and (size + stored_size(row) > GROUP_BYTES or len(group) == GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += stored_size(row)
    if group:
        yield group


class _Hashing:
    """A file that pyarrow writes to, whose bytes are counted and hashed as they pass."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, content: "pyarrow.Buffer | bytes") -> int:
        """Write `content` and return its size."""
        self.hash.update(content)
        self._stream.write(content)
        size = memoryview(content).nbytes
        self.size += size
        return size

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._stream.flush()

    def close(self) -> None:
        """Leave closing to whoever opened the file."""
