import pytest
import torch

from ccnet_kernels.bench.case import Case, forward, random_arguments
from ccnet_kernels.bench.memory import free_bytes, peak_bytes
from ccnet_kernels.cuda import launch
from ccnet_kernels.ops import attend

MEGABYTE = 2**18  # numbers of float32


def test_the_peak_counts_what_is_held_together_and_not_what_came_before():
    kept = torch.ones(8 * MEGABYTE)

    def call():
        (kept[: 3 * MEGABYTE] + 1).sum()
        one = torch.ones(2 * MEGABYTE)
        return one + 1

    assert 4 * 2**20 <= peak_bytes(call, "cpu") < 4.01 * 2**20


def test_some_memory_is_free():
    assert free_bytes("cpu") > 2**20


@pytest.mark.parametrize(
    ("dtype", "layout", "most"), [("float32", "contiguous", 63.5), ("bfloat16", "channels_last", 32)]
)
def test_two_steps_at_the_papers_size_take_half_of_the_papers_127_mb(monkeypatch, dtype, layout, most):
    """Memory is torch's, so that it can be measured while nothing is launched."""
    monkeypatch.setattr(launch, "run", lambda *_: None)
    arguments = random_arguments(
        Case(level="block", shape=(1, 64, 512, 97, 97), dtype=dtype, device="cpu", layout=layout)
    )
    maps = 97 * 97 * (2 * 64 + 3 * 512) * (4 if dtype == "float32" else 2)
    found = peak_bytes(lambda: forward(attend, arguments), "cpu")
    assert maps <= found <= 1.01 * maps
    assert found <= most * 1e6
