"""Published datasets as they are downloaded: a root folder with the splits that the publisher made."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from ..description import Description
from ..errors import DataError, nearest
from ..labels import ClassLabels, LabelReader
from ..options import Fault, Option, path
from ..sample import SegmentationDataset
from ..source import Source, faults_of
from .pairs import Listing, PairDataset, Pairs, refuse
from .tree import descend, require_folder


@dataclass(frozen=True, kw_only=True)
class Official(Source):
    """Base of the published layouts. A subclass says what is known of it, and lists the files of a split."""

    description: ClassVar[Description]

    root: Annotated[Path | None, Option(path, "folder of the dataset, as `ccnet-data info NAME` shows it")] = None

    @abstractmethod
    def present(self, root: Path, split: str) -> bool:
        """Return whether `root` seems to hold `split`, by its folder or its list of names."""

    @abstractmethod
    def list_split(self, root: Path, split: str) -> Listing:
        """List the files of `split`. Raises DataError where folders or lists are missing."""

    def read_label(self, pairs: Pairs) -> LabelReader:  # noqa: ARG002
        """Return what reads the label files of `pairs`; by default they hold class indices."""
        return ClassLabels(count=len(self.description.classes))

    def splits(self) -> tuple[str, ...]:
        """Return the published splits that are there."""
        root = self.given_root()
        return tuple(split for split in self.description.sizes if self.present(root, split))

    def faults(self, split: str | None) -> list[Fault]:
        """Return the first fault of the folders, and of the pairing of files, which are not opened."""
        return faults_of(root=lambda: self._check(split))

    def open(self, split: str) -> SegmentationDataset:
        """Pair the files of `split`."""
        dataset, faults = self.partial(split)
        refuse(faults)
        return dataset

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Pair the files of `split` as far as they have partners."""
        listing = self._listing(split)
        dataset = PairDataset(
            pairs=listing.pairs,
            classes=self.description.classes,
            palette=self.description.palette,
            read_label=self.read_label(listing.pairs),
            flip_pairs=self.description.flip_pairs,
        )
        return dataset, listing.faults

    def given_root(self) -> Path:
        """Return the root folder. Raises DataError, with the expected tree, if it is not given or not there."""
        if self.root is None:
            raise DataError(f"root is missing: give root=DIR, the folder that holds {self.expected()}.")
        return descend(self.require(self.root), self.description.unpacked)

    def require(self, folder: Path) -> Path:
        """Return `folder`. Raises DataError, with the expected tree, if it is not there."""
        return require_folder(folder, f"root must hold {self.expected()}")

    def expected(self) -> str:
        """Return the expected tree in one line."""
        lines = ", ".join(line.split("  ")[0].strip() for line in self.description.tree.splitlines())
        unpacked = self.description.unpacked
        return f"{lines} (there or in {unpacked}/)" if unpacked else lines

    def _check(self, split: str | None) -> None:
        for each in [split] if split is not None else self.splits() or [next(iter(self.description.sizes))]:
            refuse(self._listing(each).faults)

    def _listing(self, split: str) -> Listing:
        known = self.description.sizes
        if split not in known:
            raise DataError(f"{self.description.title} has no split {split!r}.{nearest(str(split), known)}")
        listing = self.list_split(self.given_root(), split)
        if not listing.pairs and not listing.faults:
            raise DataError(f"{self.root}: the split {split!r} is empty; root must hold {self.expected()}.")
        return listing
