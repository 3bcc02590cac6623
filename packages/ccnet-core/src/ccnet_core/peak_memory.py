"""The most memory that a process has held."""

import sys

import torch


def peak_memory(device: torch.device) -> float | None:
    """Return in GiB the most that this process has held at once: in tensors on a CUDA `device`, else in main memory.

    None where the system does not tell, as on Windows.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
