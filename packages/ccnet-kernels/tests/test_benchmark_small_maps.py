"""The rule that says from which size on the kernels should be chosen."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "small_maps.py"


@pytest.fixture(scope="module")
def least_positions():
    spec = spec_from_file_location("small_maps", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.least_positions


def table(**numba):
    """Rows of maps 2, 4 and 8 wide, on which torch takes 10 ms a step; `numba` gives its times by step."""
    return [
        {"shape": f"1x8x8x{edge}x{edge}", "dtype": "bfloat16", "step": step, "name": name, "time_ms": time}
        for step, times in numba.items()
        for edge, ours in zip((2, 4, 8), times, strict=True)
        for name, time in (("torch", "10"), ("numba", ours))
    ]


def test_it_is_the_least_size_from_which_on_neither_step_was_slower(least_positions):
    found = least_positions(table(forward=("9", "10", "1"), forward_backward=("11", "9", "2")))
    assert found == {"bfloat16": 16}


def test_a_larger_map_that_was_slower_moves_it_up(least_positions):
    assert least_positions(table(forward=("1", "11", "1"))) == {"bfloat16": 64}


@pytest.mark.parametrize("slow", ["11", ""], ids=["slower", "not timed"])
def test_there_is_none_if_the_largest_map_was_not_faster(least_positions, slow):
    assert least_positions(table(forward=("1", "1", slow))) == {"bfloat16": None}
