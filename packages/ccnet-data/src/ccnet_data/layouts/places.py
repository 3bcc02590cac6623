"""Where the annotation file and the pictures of a split lie."""

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, nearest
from .tree import found_in, require_folder

SPLIT = "{split}"
"""What stands for the name of the split in `annotations` and `pictures`."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Names as seen from `root`: `annotations` of a file, `pictures` of a folder, or None for the folder of that file.

    `expected` is what errors say that there must be.
    """

    root: Path
    annotations: str
    pictures: str | None
    expected: str

    @property
    def by_split(self) -> bool:
        """Whether each split has a file of its own."""
        return SPLIT in self.annotations

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have a file of their own, in the order of their names."""
        file = self.root / self.annotations
        pattern = glob.escape(str(file.relative_to(file.anchor))).replace(SPLIT, "*")
        first, *others = map(re.escape, str(file).split(SPLIT))
        name = first + r"([^/\\]+)" + r"\1".join(others)
        found = (re.fullmatch(name, str(each)) for each in Path(file.anchor).glob(pattern))
        return tuple(sorted(match[1] for match in found if match is not None))

    def file(self, split: str) -> Path:
        """Return the annotation file of `split`. Raises DataError, with what is there, if there is none."""
        file = self.root / self.annotations.replace(SPLIT, split)
        if file.is_file():
            return file
        known = self.splits() if self.by_split else ()
        if known:
            raise DataError(f"{file}: there is no such file, so no split {split!r}.{nearest(split, known)}")
        folder = require_folder(file.parent, self.expected)
        raise DataError(f"{file}: there is no such file; {self.expected}. In {folder}, {found_in(folder)}.")

    def folder(self, split: str) -> Path:
        """Return the folder of the pictures of `split`. Raises DataError if it is not there."""
        if self.pictures is None:
            return self.file(split).parent
        return require_folder(self.root / self.pictures.replace(SPLIT, split), self.expected)
