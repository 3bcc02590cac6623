"""Progress on the terminal: the bar of a run, lines of text above it, and short bars."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from tqdm import tqdm

from ccnet_core.peak_memory import peak_memory

T = TypeVar("T")

ON_A_TERMINAL = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {remaining} left{postfix}"
IN_A_FILE = "train {n_fmt}/{total_fmt} ({percentage:.0f}%), {remaining} left{postfix}"
SECONDS_BETWEEN_LINES = 30


class Progress:
    """A bar with time left, loss, learning rate, pictures per second and memory; nothing where `show` is false.

    It needs 80 columns, and 90 to show the share of the time waited for data too. A file or a pipe gets it as a line
    every 30 seconds.
    """

    def __init__(self, *, start: int, total: int, images_per_step: int, device: torch.device, show: bool) -> None:
        self.images_per_step, self.device, self.show = images_per_step, device, show
        self.on_terminal = sys.stderr.isatty()
        kind, interval = (tqdm, 0.1) if self.on_terminal else (_Lines, SECONDS_BETWEEN_LINES)
        self.bar = kind(
            initial=start,
            total=total,
            bar_format=ON_A_TERMINAL if self.on_terminal else IN_A_FILE,
            mininterval=interval,
            miniters=1,
            smoothing=0,  # the time left counts the evaluations in
            dynamic_ncols=True,
            disable=not show,
        )
        self._began = time.perf_counter()
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
    def elapsed(self) -> str:
        """Return the time since the start of the bar as [hours:]minutes:seconds."""
        return tqdm.format_interval(time.perf_counter() - self._began)

    def measured(self) -> dict[str, float]:
        """Return what one measures of a run: `images_per_second`, `data_share` and, where it is known, `memory_gib`.

        `data_share` is the share of the time, from 0 to 1, in which the run waited for data.
        """
        passed, memory = time.perf_counter() - self._since, peak_memory(self.device)
        rate = self._steps * self.images_per_step / passed
        measured = {"images_per_second": rate, "data_share": self._waited / passed}
        return measured if memory is None else measured | {"memory_gib": memory}

    def advance(self) -> None:
        """Count one step."""
        self._steps += 1
        self.bar.update()

    def tell(self, loss: float, lr: float, measured: dict[str, float]) -> None:
        """Show the numbers of the current step; `measured` is what :meth:`measured` returned."""
        rate = measured["images_per_second"]
        numbers = [f"loss {loss:.4f}", f"lr {lr:.1e}", f"{rate:.{1 if rate < 100 else 0}f} img/s"]
        if "memory_gib" in measured:
            numbers.append(f"{measured['memory_gib']:.1f} GiB")
        numbers.append(f"data {measured['data_share']:.0%}")
        self.bar.set_postfix_str(", ".join(numbers), refresh=False)

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        if not self.show:
            return
        if self.on_terminal:
            tqdm.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class _Lines(tqdm):  # type: ignore[type-arg]
    """The bar where the cursor cannot go back: each of its states is a line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        if msg is None and self.n > self.initial:
            print(self, file=self.fp, flush=True)

    def close(self) -> None:
        if not self.disable:
            self.display()
        self.leave = False  # what is left would end with an empty line
        super().close()


def bar(indices: Iterable[int], name: str, *, show: bool) -> Iterable[int]:
    """Go through `indices` under a bar that vanishes at the end; no bar in a file or where `show` is false."""
    return tqdm(indices, desc=name, leave=False, disable=None if show else True)  # None: shown on a terminal
