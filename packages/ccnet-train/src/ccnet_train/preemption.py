"""SIGTERM and Ctrl-C: asked to stop, a run finishes its step, saves and ends."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """The signals that arrived in this process: one count for each of :data:`SIGNALS`."""

    def __init__(self, *, show: bool) -> None:
        self.show = show
        self.counts = [0 for _ in SIGNALS]

    def note(self, number: int, _: FrameType | None) -> None:
        """Count a signal. The second Ctrl-C is an ordinary one."""
        self.counts[SIGNALS.index(signal.Signals(number))] += 1
        if number == signal.SIGINT and self.counts[SIGNALS.index(signal.SIGINT)] > 1:
            raise KeyboardInterrupt
        if self.show:
            # Not print: the signal may have come in the middle of one.
            os.write(2, b"\nstopping after this step; Ctrl-C leaves at once\n")


@contextmanager
def listening(*, show: bool) -> Iterator[StopRequest]:
    """Let SIGTERM and Ctrl-C in the block be requests, where Python allows it: in the main thread."""
    request = StopRequest(show=show)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = [signal.signal(number, request.note) for number in SIGNALS]
    try:
        yield request
    finally:
        for number, handler in zip(SIGNALS, previous, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)


def chosen(counts: Sequence[float]) -> signal.Signals | None:
    """Return the signal that the `counts` of all processes ask to stop for, if any: SIGTERM before Ctrl-C."""
    return next((number for number, count in zip(SIGNALS, counts, strict=True) if count), None)


def ignore_signals() -> None:
    """Let this process, which loads pictures for another, live until that one ends it.

    A launcher sends its signal to whole groups of processes. Without its loaders a run could not finish the step.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
