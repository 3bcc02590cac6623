"""The parquet files of a folder, one per split."""

from pathlib import Path

from ..errors import DataError, nearest, reading
from .tree import found_in, require_folder

EXPECTED = "root must hold train.parquet and val.parquet (a folder as the Hub has it is given as repo=DIR)"
_MAGIC = b"PAR1"
_SMALLEST_FILE = 12
"""A parquet file begins and ends with the magic; four bytes before the last hold the footer's length."""


def split_files(root: Path, split: str | None) -> list[Path]:
    """Return the file of `split`, or those of all splits when None. Raises DataError with what is there instead."""
    require_folder(root, EXPECTED)
    files = {file.stem: file for file in sorted(root.glob("*.parquet"))}
    if not files:
        raise DataError(f"{root}: {EXPECTED}; {found_in(root)}.")
    if split is None:
        return list(files.values())
    if split not in files:
        raise DataError(f"{root}: there is no {split}.parquet for the split {split!r}.{nearest(str(split), files)}")
    return [files[split]]


def require_parquet(file: Path) -> None:
    """Raise DataError unless `file` is whole, as far as its first and last bytes tell."""
    with reading(file), file.open("rb") as stream:
        head = stream.read(len(_MAGIC))
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        footer_size, tail = int.from_bytes(stream.read(4), "little"), stream.read()
    if head != _MAGIC or tail != _MAGIC or size < footer_size + _SMALLEST_FILE:
        raise DataError(f"{file}: not a whole parquet file ({size} bytes); fetch or write it again.")
