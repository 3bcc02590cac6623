"""Work on every sample of a dataset in several processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from .errors import DataError
from .sample import SegmentationDataset

T = TypeVar("T")
Work = Callable[[SegmentationDataset, int], T]

CHUNK = 16
"""Samples that a process reads at a time; it finishes them when the rest is called off."""
AHEAD = 4
"""Chunks per process that are handed out before the first of them is back."""


def every_sample(dataset: SegmentationDataset, work: Work[T], workers: int | None, title: str) -> Iterator[T]:
    """Yield `work(dataset, index)` for every index in order, with a progress bar on standard error if it is a terminal.

    `workers` processes share the samples: one per CPU when None, with 0 this process alone. Dataset, work and results
    must be picklable, and a script that calls this must guard its start with `if __name__ == "__main__"`.
    """
    # It takes a tenth of a second to import.
    from tqdm import tqdm

    count = len(dataset)
    processes = min(_usable_cpus() if workers is None else workers, count // CHUNK)
    results = _shared(dataset, work, processes) if processes else (work(dataset, index) for index in range(count))
    yield from tqdm(results, total=count, desc=title, unit=" samples", disable=None)


def _usable_cpus() -> int:
    """Return how many CPUs this process may use: a container or a batch system often lends few of many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared(dataset: SegmentationDataset, work: Work[T], processes: int) -> Iterator[T]:
    # Not forked: a process that has threads, as those of Arrow, may deadlock in its copies.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (work, dataset))
    handed_out: deque[Future[list[T]]] = deque()
    try:
        for start in range(0, len(dataset), CHUNK):
            with _interrupts_held_back():
                handed_out.append(pool.submit(_work_on, range(start, min(start + CHUNK, len(dataset)))))
            if len(handed_out) == AHEAD * processes:
                yield from handed_out.popleft().result()
        while handed_out:
            yield from handed_out.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            f"A process ended in the middle of {len(dataset)} samples, of too little memory or a fault in a decoder; "
            "try fewer workers, or 0 to see where. A script must guard its start with `if __name__ == '__main__':`."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_work: Callable[[int], Any]
"""What this process does with a position; every process that `_shared` starts sets its own."""


def _begin(work: Work[Any], dataset: SegmentationDataset) -> None:
    global _work
    _work = partial(work, dataset)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work_on(indices: range) -> list[Any]:
    return [_work(index) for index in indices]


def _end_with_parent() -> None:
    """Leave no process behind when the one that started this one was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, so that the one who started them alone ends them, without tracebacks.

    A process inherits which signals are held back; what arrives here meanwhile is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
