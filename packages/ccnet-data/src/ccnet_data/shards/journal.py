"""What a conversion has finished so far, in its folder until it is complete."""

import fcntl
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DataError, enumerate_some
from .manifest import Shard, read_shard
from .write import PART

JOURNAL_FILE = "conversion.jsonl"
"""Its first line is the command, each further one a finished shard."""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The `shards` that earlier runs finished, by the names of their files; this run adds its own."""

    shards: dict[str, Shard]
    stream: BinaryIO

    def add(self, shard: Shard) -> None:
        """Record that `shard` is finished."""
        _append(self.stream, asdict(shard))


@contextmanager
def open_journal(folder: Path, command: Mapping[str, Any], files: Collection[str]) -> Iterator[Journal]:
    """Give the journal of the conversion that writes `files` to `folder` by `command`, new or to be continued.

    Raises DataError if the folder holds anything else, shards of another command, or a conversion that runs now. What a
    killed one left half written is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / JOURNAL_FILE
    if not place.exists():
        _refuse(folder, [entry.name for entry in folder.iterdir()])
    with place.open("a+b") as stream:
        _lock(stream, folder)
        lines = _whole_lines(stream)
        if lines:
            _require_same(_parsed(lines[0], place), command, folder)
        else:
            _append(stream, command)
        _clear(folder, files)
        yield Journal(shards=_finished(lines[1:], place), stream=stream)


def _append(stream: BinaryIO, line: Mapping[str, Any]) -> None:
    stream.write(json.dumps(line).encode() + b"\n")
    stream.flush()


def _lock(stream: BinaryIO, folder: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"{folder}: another process converts into this folder now; wait for it.") from error


def _whole_lines(stream: BinaryIO) -> list[bytes]:
    """Return the lines, and cut off the beginning of one that a killed process left."""
    stream.seek(0)
    *lines, rest = stream.read().split(b"\n")
    stream.truncate(stream.tell() - len(rest))
    return lines


def _parsed(line: bytes, place: Path) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is damaged ({error}); empty the folder and convert again.") from error


def _require_same(begun: Any, command: Mapping[str, Any], folder: Path) -> None:
    if begun == command:
        return
    known = begun if isinstance(begun, dict) else {}
    other = [f"{key}={known.get(key)} and not {value}" for key, value in command.items() if known.get(key) != value]
    raise DataError(
        f"{folder}: holds a conversion begun with {'; '.join(other)}. Finish that one, or choose another folder."
    )


def _clear(folder: Path, files: Collection[str]) -> None:
    """Remove what was half written. Raises DataError if there is anything that no conversion writes."""
    begun = tuple(f".{file}{PART}" for file in files)
    entries = [entry for entry in folder.iterdir() if entry.name not in (*files, JOURNAL_FILE)]
    _refuse(folder, [entry.name for entry in entries if not entry.name.startswith(begun)])
    for entry in entries:
        entry.unlink()


def _refuse(folder: Path, names: Collection[str]) -> None:
    if names:
        raise DataError(f"{folder}: already holds {enumerate_some(sorted(names))}; choose a new or an empty folder.")


def _finished(lines: list[bytes], place: Path) -> dict[str, Shard]:
    shards = (read_shard(_parsed(line, place), str(place)) for line in lines)
    return {shard.file: shard for shard in shards}
