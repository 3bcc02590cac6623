"""How long calls take: the median of interleaved rounds, so that a machine that slows down slows all alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

CACHE = 2**28  # bytes, several times the L2 of any GPU
Key = TypeVar("Key", bound=Hashable)
Call = Callable[[], object]


def medians(calls: Mapping[Key, Call], device: str, rounds: int, *, cold: bool = False) -> dict[Key, float]:
    """Return milliseconds of each call, after one round that does not count.

    On CUDA the time is that between two events on torch's stream, from an idle device on, so launches count. `cold`
    empties the L2 cache before each call, which gives the host that much head start.
    """
    flush = _flush() if cold and device == "cuda" else None
    measure = _on_cuda if device == "cuda" else _on_cpu
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(rounds + 1):
        for key, call in calls.items():
            elapsed = measure(call, flush)
            if turn:
                times[key].append(elapsed)
    return {key: statistics.median(found) for key, found in times.items()}


def _flush() -> Call:
    cache = torch.empty(CACHE, dtype=torch.int8, device="cuda")
    return cache.zero_


def _on_cpu(call: Call, _flush: Call | None) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _on_cuda(call: Call, flush: Call | None) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    if flush is not None:
        flush()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))
