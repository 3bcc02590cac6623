"""Every random number of a run is drawn from a stream named by its purpose, the recipe's seed and where it is used.

No state is carried from step to step, so a run can be resumed from an iteration number alone.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a stream is for, so that two uses with equal numbers never share one."""

    WEIGHTS = 1
    ORDER = 2
    AUGMENT = 3
    STEP = 4


def generator(purpose: Purpose, seed: int, where: int = 0) -> np.random.Generator:
    """Return a fresh numpy generator for `purpose` at `where` (an epoch, or a global sample position)."""
    return np.random.default_rng((purpose, seed, where))


def seed_torch(purpose: Purpose, seed: int, step: int = 0, rank: int = 0) -> None:
    """Seed torch's generators of all devices: dropout and initial weights take no generator of their own."""
    words = np.random.SeedSequence((purpose, seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))


@contextmanager
def forked_random_state(device: torch.device) -> Iterator[None]:
    """Keep the global generators of torch, Python and numpy as they are outside of the block."""
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
