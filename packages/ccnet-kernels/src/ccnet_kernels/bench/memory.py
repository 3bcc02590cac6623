"""What a call holds in memory at one time, as torch's allocator sees it."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """Return the most bytes that `call` held at one time beyond what was held before.

    On the CPU that is what torch allocates; the workspace of MKL and oneDNN is not seen.
    """
    return _peak_of_cuda(call) if device == "cuda" else _peak_of_cpu(call)


def free_bytes(device: str) -> int:
    """Return the memory that nobody uses."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _peak_of_cuda(call: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() - before


def _peak_of_cpu(call: Callable[[], object]) -> int:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages of the profiler itself
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    held = peak = 0
    events = recorded.profiler.kineto_results.events()
    for change in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak
