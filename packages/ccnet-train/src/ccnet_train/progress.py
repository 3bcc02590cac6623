"""Progress on the terminal: the bar of a run, lines of text above it, and short bars."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """A bar with loss, learning rate, pictures per second and time left; nothing where `show` is false."""

    def __init__(self, *, start: int, total: int, images_per_step: int, show: bool) -> None:
        self.images_per_step = images_per_step
        self.show = show
        # In a file every refresh is a line of its own.
        interval = 0.1 if sys.stderr.isatty() else 30
        self.bar = tqdm(initial=start, total=total, desc="train", unit="step", mininterval=interval, disable=not show)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Measure pictures per second from now on: after a pause, such as an evaluation."""
        self._since, self._steps, self._waited = time.perf_counter(), 0, 0.0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """Give `batches`, measuring how long each is waited for."""
        iterator = iter(batches)
        while True:
            since = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - since
            yield batch

    @property
    def data_share(self) -> float:
        """Return the share of the time, from 0 to 1, in which the run waited for data."""
        return self._waited / (time.perf_counter() - self._since)

    def advance(self) -> None:
        """Count one step."""
        self._steps += 1
        self.bar.update()

    def losses(self, loss: float, lr: float) -> None:
        """Show the numbers of the current step."""
        rate = self._steps * self.images_per_step / (time.perf_counter() - self._since)
        numbers = f"loss {loss:.4f}, lr {lr:.2e}, {rate:.1f} images/s, data {self.data_share:.0%}"
        self.bar.set_postfix_str(numbers, refresh=False)

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        if self.show:
            tqdm.write(line, file=sys.stdout)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


def bar(indices: Iterable[int], name: str, *, show: bool) -> Iterable[int]:
    """Go through `indices` under a bar that vanishes at the end; no bar in a file or where `show` is false."""
    return tqdm(indices, desc=name, leave=False, disable=None if show else True)  # None: shown on a terminal
