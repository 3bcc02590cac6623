import torch

from ccnet_kernels.bench.memory import free_bytes, peak_bytes

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
