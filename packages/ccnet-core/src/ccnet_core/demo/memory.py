"""Memory that libraries keep for later: pictures of ever new sizes make a server hold more and more of it."""

import ctypes
import os
import sys


def keep_little() -> None:
    """Let oneDNN keep 32 compiled operations instead of 1024. It asks once, before the first network runs."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def give_back() -> None:
    """Return to the system what was freed, where glibc can: each thread keeps gaps that other threads cannot fill."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
