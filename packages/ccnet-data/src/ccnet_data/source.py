"""A source is one kind of dataset: its options, what is wrong with them, and how a split of it opens."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from .errors import DataError
from .options import Fault, Options
from .sample import SegmentationDataset


@dataclass(frozen=True, kw_only=True)
class Source(Options):
    """Base of all sources. A subclass declares its options as fields; its docstring's first line is its summary."""

    @abstractmethod
    def faults(self, split: str | None) -> list[Fault]:
        """Return all that stands in the way of opening `split`, or any split when None, without decoding pictures."""

    @abstractmethod
    def open(self, split: str) -> SegmentationDataset:
        """Return the dataset. Raises DataError for the first fault."""


def faults_of(**steps: Callable[[], object]) -> list[Fault]:
    """Run each step, named after the option it depends on, and return what they raised as DataError."""
    faults = []
    for option, step in steps.items():
        try:
            step()
        except DataError as error:
            faults.append(Fault(option, str(error)))
    return faults
