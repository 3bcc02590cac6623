from dataclasses import replace

import pytest
from test_bench_table import ABSENT, ROW

from ccnet_kernels.bench.plot import curves, draw, spread

ROWS = [
    replace(ROW, step="forward_backward", name=name, shape=f"1x2x3x{edge}x{edge}", time_ms=edge**power)
    for name, power in (("numba", 1.0), ("non-local", 2.0))
    for edge in (64, 32)
]


def test_a_curve_holds_the_training_steps_of_a_contender_by_edge():
    found = curves([*ROWS, ROW, replace(ABSENT, step="forward_backward")], "time_ms")
    assert found == {"numba": [(32, 32.0), (64, 64.0)], "non-local": [(32, 1024.0), (64, 4096.0)]}


def test_labels_keep_their_distance_and_their_order():
    placed = spread([10.0, 1.0, 1.01], gap=2.0)
    assert placed == [10.0, 1.0, 2.0]


def test_a_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    draw(tmp_path / "sizes.png", ROWS, {"device": "a CPU", "torch": "2"})
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
