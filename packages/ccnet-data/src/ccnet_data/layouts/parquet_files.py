"""The parquet files of a folder by split: one each, or several that are numbered as on the Hub."""

import re
from pathlib import Path

from ..errors import DataError, enumerate_some, nearest, reading
from .tree import found_in, require_folder

EXPECTED = (
    "root must hold train.parquet and val.parquet, or train-00000-of-00012.parquet and so on "
    "(a folder as the Hub has it is given as repo=DIR)"
)
_NUMBERED = re.compile(r"(?P<split>.+)-[0-9]{5}-of-(?P<count>[0-9]{5})")
_MAGIC = b"PAR1"
_SMALLEST_FILE = 12
"""A parquet file begins and ends with the magic; four bytes before the last hold the footer's length."""


def files_by_split(root: Path) -> dict[str, list[Path]]:
    """Return the files of each split: SPLIT.parquet, or SPLIT-00000-of-00012.parquet and so on, in their order.

    Raises DataError, with what is there instead, if there is none, if some of them are missing, and for several sets.
    """
    require_folder(root, EXPECTED)
    sets: dict[str, dict[int, list[Path]]] = {}
    for file in sorted(root.glob("*.parquet")):
        numbered = _NUMBERED.fullmatch(file.stem)
        split, count = (numbered["split"], int(numbered["count"])) if numbered else (file.stem, 0)
        sets.setdefault(split, {}).setdefault(count, []).append(file)
    if not sets:
        raise DataError(f"{root}: {EXPECTED}; {found_in(root)}.")
    return {split: _only_set(root, split, found) for split, found in sets.items()}


def split_files(root: Path, split: str) -> list[Path]:
    """Return the files of `split`. Raises DataError with the nearest split."""
    files = files_by_split(root)
    if split not in files:
        raise DataError(f"{root}: there is no {split}.parquet for the split {split!r}.{nearest(str(split), files)}")
    return files[split]


def _only_set(root: Path, split: str, sets: dict[int, list[Path]]) -> list[Path]:
    """Return the files of the one set among `sets`, by how many it has in all; 0 is SPLIT.parquet."""
    if len(sets) > 1:
        examples = enumerate_some(files[0].name for files in sets.values())
        raise DataError(f"{root}: the split {split!r} is there several times ({examples}); remove all but one.")
    ((count, files),) = sets.items()
    names = {file.name for file in files}
    missing = [name for number in range(count) if (name := f"{split}-{number:05d}-of-{count:05d}.parquet") not in names]
    if missing:
        raise DataError(f"{root}: {enumerate_some(missing)} is missing; fetch the split {split!r} whole.")
    return files


def require_parquet(file: Path) -> None:
    """Raise DataError unless `file` is whole, as far as its first and last bytes tell."""
    with reading(file), file.open("rb") as stream:
        head = stream.read(len(_MAGIC))
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        footer_size, tail = int.from_bytes(stream.read(4), "little"), stream.read()
    if head != _MAGIC or tail != _MAGIC or size < footer_size + _SMALLEST_FILE:
        raise DataError(f"{file}: not a whole parquet file ({size} bytes); fetch or write it again.")
