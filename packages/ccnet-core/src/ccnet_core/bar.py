"""The progress of a long command on stderr: a bar on a terminal, elsewhere a line every half minute."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


class _Lines(tqdm):  # type: ignore[type-arg]  # its parameter is what it iterates over, and this one does not
    """A bar whose every refresh is a line of text."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        self.fp.write(f"{msg or self}\n")

    def close(self) -> None:
        self.sp = None  # what would end the bar with a line of its own
        super().close()


@contextmanager
def bar(total: int | None, what: str, *, unit: str = "pictures", show: bool = True) -> Iterator["tqdm[Any]"]:
    """Give a bar whose `update(n)` counts `n` more of `total`, with their number per second and the time left.

    `what` stands before it. Without a `total` there is no time left; where `show` is false there is nothing.
    """
    terminal = sys.stderr.isatty()
    seconds = 0.1 if terminal else SECONDS_BETWEEN_LINES
    before = "{l_bar}{bar}| " if terminal else "{desc}: "
    with (tqdm if terminal else _Lines)(
        desc=what,
        total=total,
        unit=f" {unit}",
        disable=not show,
        bar_format=before + "{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]",
        mininterval=seconds,
        delay=0 if terminal else seconds,
        dynamic_ncols=True,
    ) as shown:
        yield shown
