"""What a call holds in memory, as torch's CPU allocator sees it."""

import os
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_of_cpu(call: Callable[[], object]) -> int:
    """Return the most bytes that `call` holds at one time beyond what was allocated before, as the profiler records."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no messages of the profiler itself
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    changes = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak
