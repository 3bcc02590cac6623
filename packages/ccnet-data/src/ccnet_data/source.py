"""A source is one kind of dataset: its options, what is wrong with them, and how a split of it opens."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from .description import Description
from .errors import DataError, reading
from .options import Fault, Option, Options, one_of
from .sample import SegmentationDataset

RAISE, REPLACE = "raise", "replace"


@dataclass(frozen=True, kw_only=True)
class Source(Options):
    """Base of all sources. A subclass declares its options as fields; its docstring's first line is its summary."""

    description: ClassVar[Description | None] = None
    """The facts of a published dataset; None for files of the user's own."""

    on_error: Annotated[
        str, Option(one_of(RAISE, REPLACE), "what a damaged sample does: raise, or be replaced by another one")
    ] = RAISE

    def described(self) -> Description | None:
        """Return the published facts that these files are held against: none for files of the user's own."""
        return self.description

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits that are there. Raises DataError where there is nothing to look at."""

    @abstractmethod
    def faults(self, split: str | None) -> list[Fault]:
        """Return all that stands in the way of opening `split`, or any split when None, without decoding pictures."""

    @abstractmethod
    def open(self, split: str) -> SegmentationDataset:
        """Return the dataset. Raises DataError for the first fault."""

    def partial(self, split: str) -> tuple[SegmentationDataset, tuple[str, ...]]:
        """Return what can be read of `split`, and one sentence for each file that is left out, for `ccnet-data verify`.

        A source whose files cannot miss one another leaves nothing out.
        """
        return self.open(split), ()


def faults_of(**steps: Callable[[], object]) -> list[Fault]:
    """Run each step, named after the option it depends on, and return what they or the system raised."""
    faults = []
    for option, step in steps.items():
        try:
            with reading():
                step()
        except DataError as error:
            faults.append(Fault(option, str(error)))
    return faults
