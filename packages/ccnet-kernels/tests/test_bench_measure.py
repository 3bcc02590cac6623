import pytest
import torch
from bench_cases import tiny, wrong_by

from ccnet_kernels.bench.contenders import Contender
from ccnet_kernels.bench.measure import measure, row_of
from ccnet_kernels.formula import plain_attention, plain_non_local


def contender(name, attend, reason=None, **fields):
    return Contender(name=name, attend=attend, why_not=lambda case: reason, **fields)


def without_gradient(*arguments, **options):
    if torch.is_grad_enabled():
        raise NotImplementedError("no backward here")
    return plain_attention(*arguments, **options)


def test_every_contender_has_two_rows_with_a_time_or_a_reason():
    everyone = [
        contender("torch", plain_attention, is_backend=True, version="1.2"),
        contender("absent", plain_attention, "needs a CUDA device"),
        contender("wrong", wrong_by(1.01, plain_attention)),
        contender("forward", without_gradient),
        contender("all", plain_non_local, is_non_local=True),
    ]
    rows = measure(tiny(), everyone, rounds=1, cold=False)
    notes = {(row.name, row.step): row.note for row in rows}
    assert len(notes) == len(rows) == 10
    assert {place for place, note in notes.items() if not note} == {
        ("torch", "forward"),
        ("torch", "forward_backward"),
        ("forward", "forward"),
        ("all", "forward"),
        ("all", "forward_backward"),
    }
    assert all((row.time_ms is None) == bool(row.note) == (row.peak_MB is None) for row in rows)
    assert notes["absent", "forward"] == "needs a CUDA device"
    assert "output is off by" in notes["wrong", "forward"]
    assert notes["forward", "forward_backward"] == "NotImplementedError: no backward here"
    assert (rows[0].kind, rows[0].version, rows[-1].kind) == ("backend", "1.2", "peer")


@pytest.mark.parametrize(("names", "one"), [(("numba", "torch"), "numba"), (("torch", "other"), "torch")])
def test_ratios_refer_to_ours_or_else_to_core(names, one):
    rows = measure(tiny(), [contender(name, plain_attention) for name in names], rounds=1, cold=False)
    against = {row.step: row.time_ms for row in rows if row.name == one}
    assert all(row.ratio == row.time_ms / against[row.step] for row in rows)


def test_rates_and_floor_follow_from_time_and_cost():
    case = tiny(shape=(8, 64, 512, 97, 97))
    row = row_of(case, contender("one", plain_attention), "forward", 2.0, 3_000_000, 0.5, "")
    assert (row.ratio, row.peak_MB, row.shape) == (4.0, 3.0, "8x64x512x97x97")
    assert row.gflops_per_s == pytest.approx(2 * 8 * 97 * 97 * 193 * 576 / 2e-3 / 1e9)
    assert row.gbytes_per_s == pytest.approx(4 * 8 * 97 * 97 * 1664 / 2e-3 / 1e9)
    assert row.times_floor == pytest.approx(2.0 / row.floor_ms)
