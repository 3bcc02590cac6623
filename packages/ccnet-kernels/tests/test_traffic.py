"""The counts behind the predictions of benchmarks/NOTES.md."""

from pathlib import Path

import emulator
import pytest
import torch
from emulated_traffic import Traffic
from traffic import SHAPE, passes_of, table, traffic_of

from ccnet_kernels.cuda import launch, passes

NOTES = Path(__file__).parents[1] / "benchmarks" / "NOTES.md"


def maps(channels):
    return torch.zeros(2, channels, 8, 8, dtype=torch.bfloat16).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("longest", [0, 128])
def test_a_line_counted_for_each_line_is_what_the_whole_launch_counts(monkeypatch, longest):
    seen = []

    def run(name, *call):
        whole = Traffic()
        emulator.run(name, *call, traffic=whole)
        seen.append(name)
        assert traffic_of(name, *call) == whole, name

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(passes, "SHORT", longest)
    query, key, value, residual = maps(16), maps(16), maps(32), maps(32)
    # Without scale, which every line reads anew.
    _, attended, log_sums = passes.forward_and_keep(query, key, value, None, residual)
    passes.backward(residual, query, key, value, None, attended, log_sums)
    assert len(seen) == (9 if longest == 0 else 5)


def test_memory_is_each_array_once():
    """Query and key 16 channels, value and output 32, of 128 pixels; log-sums in float32."""
    rows, columns = (traffic for _, traffic in passes_of((2, 16, 32, 8, 8))["forward"])
    assert rows.touched == 128 * (2 * (2 * 16 + 2 * 32) + 4)
    assert columns.touched == 128 * (2 * (2 * 16 + 4 * 32) + 2 * 4) + 2 * 8 * 4  # each line reads scale


def test_products_and_exponentials_are_those_of_the_arithmetic():
    rows, _ = (traffic for _, traffic in passes_of((1, 64, 128, 3, 32))["forward"])
    # So few lines that a block takes 64 of 128 value channels; 16 products give two warps' energies or values.
    assert rows.products == 3 * 2 * 2 * (16 + 16)
    assert rows.exponentials == 3 * 2 * 64 * 64  # lines, blocks, threads, two rows of 128 among four lanes


def test_the_notes_hold_the_counts_of_today():
    assert "\n".join(table(SHAPE)) in NOTES.read_text()
