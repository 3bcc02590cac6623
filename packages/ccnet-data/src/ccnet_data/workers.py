"""Work on every sample of a dataset in several processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from .errors import DataError
from .sample import SegmentationDataset

T = TypeVar("T")
J = TypeVar("J")
Work = Callable[[SegmentationDataset, int], T]
Advance = Callable[[int], object]
"""Takes how many more samples of a job are done."""
Job = Callable[[J, Advance], T]

CHUNK = 16
"""Samples that a process reads at a time; it finishes them when the rest is called off."""
AHEAD = 4
"""Chunks per process that are handed out before the first of them is back."""
REFRESH = 0.2
"""Seconds between looks at how far long jobs are."""


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


def every_job(jobs: Sequence[J], work: Job[J, T], workers: int | None, total: int, title: str) -> Iterator[T]:
    """Yield `work(job, advance)` for every job as it ends, in any order, with a progress bar of `total` samples.

    For jobs of many samples: `work` calls `advance(count)` after some of them, which raises CalledOff when the rest is
    not wanted any more. Processes are as for `every_sample`.
    """
    from tqdm import tqdm

    processes = min(_usable_cpus() if workers is None else workers, len(jobs))
    with tqdm(total=total, desc=title, unit=" samples", disable=None) as bar:
        if processes:
            yield from _jobs_shared(jobs, work, processes, total, bar.update)
        else:
            yield from (work(job, bar.update) for job in jobs)


class CalledOff(Exception):  # noqa: N818
    """Raised in the middle of a job whose result nobody waits for."""


def _usable_cpus() -> int:
    """Return how many CPUs this process may use: a container or a batch system often lends few of many."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared(dataset: SegmentationDataset, work: Work[T], processes: int) -> Iterator[T]:
    handed_out: deque[Future[list[T]]] = deque()
    with _pool(processes, len(dataset), partial(work, dataset)) as pool:
        for start in range(0, len(dataset), CHUNK):
            with _interrupts_held_back():
                handed_out.append(pool.submit(_work_on, range(start, min(start + CHUNK, len(dataset)))))
            if len(handed_out) == AHEAD * processes:
                yield from handed_out.popleft().result()
        while handed_out:
            yield from handed_out.popleft().result()


def _jobs_shared(jobs: Sequence[J], work: Job[J, T], processes: int, total: int, update: Advance) -> Iterator[T]:
    shared = multiprocessing.get_context("spawn")
    done, called_off = shared.Value("q", 0), shared.Event()
    shown = 0
    with _pool(processes, total, partial(_job, jobs, work, done, called_off)) as pool:
        try:
            with _interrupts_held_back():
                waiting = {pool.submit(_work_on, range(number, number + 1)) for number in range(len(jobs))}
            while waiting:
                ended, waiting = wait(waiting, REFRESH, FIRST_COMPLETED)
                before, shown = shown, done.value
                update(shown - before)
                for future in ended:
                    yield from future.result()
        finally:
            called_off.set()


@contextmanager
def _pool(processes: int, count: int, work: Callable[[int], Any]) -> Iterator[ProcessPoolExecutor]:
    """Give `processes` that do `work` on positions (`_work_on`), and end them; `count` samples are in all jobs."""
    # Not forked: a process that has threads, as those of Arrow, may deadlock in its copies.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (work,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            f"A process ended in the middle of {count} samples, of too little memory or a fault in a decoder; "
            "try fewer workers, or 0 to see where. A script must guard its start with `if __name__ == '__main__':`."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _job(jobs: Sequence[J], work: Job[J, T], done: Any, called_off: Any, number: int) -> T:
    def advance(count: int) -> None:
        if called_off.is_set():
            raise CalledOff
        with done.get_lock():
            done.value += count

    return work(jobs[number], advance)


_work: Callable[[int], Any]
"""What this process does with a position; every process that `_shared` starts sets its own."""


def _begin(work: Callable[[int], Any]) -> None:
    global _work
    _work = work
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
