"""Every picture of a split measured once, each process taking its share."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ccnet_train.launch import Accelerator, gather_texts, own_errors
from ccnet_train.progress import bar


class Measured(Protocol):
    """What was measured of the picture at `index`, as a line of text for other processes and for files."""

    @property
    def index(self) -> int:
        """Its place in the split."""
        ...

    def to_line(self) -> str:
        """Return what the function `read` of :func:`measure_pictures` takes."""
        ...


M = TypeVar("M", bound=Measured)


def measure_pictures(
    count: int,
    measure: Callable[[int], M],
    read: Callable[[str], M],
    accelerator: Accelerator,
    *,
    known: Sequence[M],
    show: bool,
) -> tuple[M, ...]:
    """Return what `measure` says of each of `count` pictures, in their order, the same in every process.

    The pictures that are `known` to any process are left out. `read` takes back what `to_line` wrote.
    """

    def of_all_processes(pictures: Sequence[M]) -> list[M]:
        return [read(line) for line in gather_texts([picture.to_line() for picture in pictures], accelerator)]

    found = of_all_processes(known)
    counted = {picture.index for picture in found}
    left = [index for index in range(count) if index not in counted]
    share = left[accelerator.process_index :: accelerator.num_processes]
    with own_errors(accelerator):
        own = [measure(index) for index in bar(share, "evaluate", show=show and accelerator.is_main_process)]
    found += of_all_processes(own)
    return tuple(sorted(found, key=lambda picture: picture.index))
