"""What a case must cost at least: bytes to move and products to make, over rates measured on the same machine.

Letters: D query and key channels, C value channels, maps of B * N positions.
"""

import functools
import math
from dataclasses import dataclass

import torch

from ccnet_kernels.bench.case import DTYPES, RECURRENCE, Case
from ccnet_kernels.bench.clock import medians

COPY = {"cuda": 2**30, "cpu": 2**27}  # bytes: far more than any cache
SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices whose product is timed
ROUNDS = 9


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Bytes read or written, and FLOPs, two for each multiply-add."""

    bytes: float
    flops: float


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the machine can do: a copy (bytes read and written), and a product of large matrices, per second."""

    bytes: float
    flops: float

    def floor_ms(self, cost: Cost) -> float:
        """Return the time that nothing can beat, the longer of moving and computing, in milliseconds."""
        return 1e3 * max(cost.bytes / self.bytes, cost.flops / self.flops)


def cost_of(case: Case, step: str, is_non_local: bool) -> Cost:
    """Return the least that a case costs: each input read once, each result written once, each product made once.

    Going back, weights are computed again instead of stored: four products over query and key channels in all, three
    over value channels.
    In the block nothing between its input and its output, of each recurrence, has to leave the chip.
    """
    _, inner, channels, *extent = case.shape
    seen = math.prod(extent) if is_non_local else sum(extent) - len(extent) + 1
    trains = step == "forward_backward"
    adds = seen * ((4 * inner + 3 * channels) if trains else (inner + channels))
    if case.level == "operator":
        numbers = 2 * inner + 3 * channels  # query, key, value, residual; output
        if trains:
            numbers += 4 * inner + 3 * channels  # query, key, value, upstream; three gradients
    else:
        numbers = RECURRENCE * channels * (5 if trains else 2)  # input, output; upstream, input, gradient
        convolutions = channels * (2 * inner + channels)
        adds = RECURRENCE * (adds + convolutions * (3 if trains else 1))
    return Cost(bytes=case.positions * numbers * DTYPES[case.dtype].itemsize, flops=2 * case.positions * adds)


@functools.cache
def rates_of(device: str, dtype: str) -> Rates:
    """Measure this machine."""
    size = COPY[device]
    source = torch.empty(size, dtype=torch.int8, device=device).random_()
    target = torch.empty_like(source)
    left, right = (torch.randn(SIDE[device], SIDE[device], device=device, dtype=DTYPES[dtype]) for _ in range(2))
    calls = {"copy": lambda: target.copy_(source), "product": lambda: left @ right}
    times = medians(calls, device, ROUNDS)
    return Rates(bytes=2 * size / times["copy"] * 1e3, flops=2 * SIDE[device] ** 3 / times["product"] * 1e3)
