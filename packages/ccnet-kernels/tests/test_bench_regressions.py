from dataclasses import asdict, replace

import pytest
from test_bench_table import ABSENT, ROW

from ccnet_kernels.bench.regressions import regressions

CONDITIONS = dict.fromkeys(("device", "driver", "threads", "cold", "torch", "numba", "numba-cuda"), "same")


def table(*rows, **conditions):
    cells = [{name: "" if cell is None else str(cell) for name, cell in asdict(row).items()} for row in rows]
    return [line | CONDITIONS | conditions for line in cells]


@pytest.mark.parametrize(("factor", "count"), [(0.5, 0), (1.04, 0), (1.06, 1)])
@pytest.mark.parametrize("quantity", ["time_ms", "peak_MB"])
def test_more_than_five_percent_is_a_regression_of_time_and_of_memory(quantity, factor, count):
    worse = replace(ROW, **{quantity: factor * getattr(ROW, quantity)})
    assert len(regressions(table(ROW), [worse], CONDITIONS)) == count


def test_a_regression_names_the_case_and_both_figures():
    (line,) = regressions(table(ROW), [replace(ROW, time_ms=2.0)], CONDITIONS)
    assert line == "operator 1x2x3x4x5 float32 contiguous forward torch: 1.23456 -> 2 ms"


def test_a_backend_that_no_longer_has_a_time_is_a_regression():
    gone = replace(ABSENT, name="torch", note="output is off")
    assert "1.23456 -> none (output is off) ms" in regressions(table(ROW), [gone], CONDITIONS)[0]


def test_a_backend_that_had_no_time_before_is_none():
    assert regressions(table(replace(ABSENT, name="torch")), [ROW], CONDITIONS) == []


def test_peers_and_other_cases_are_left_out():
    peer = replace(ROW, name="einsum", kind="peer")
    slower = [replace(peer, time_ms=9.0), replace(ROW, shape="9x9x9x9x9", time_ms=9.0), ROW]
    assert regressions(table(ROW, peer), slower, CONDITIONS) == []


@pytest.mark.parametrize("name", CONDITIONS)
def test_other_conditions_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} was 'other' and is 'same'"):
        regressions(table(ROW, **{name: "other"}), [ROW], CONDITIONS)


def test_tables_with_nothing_in_common_are_refused():
    with pytest.raises(ValueError, match="no row of a backend in common"):
        regressions(table(ROW), [replace(ROW, dtype="float16")], CONDITIONS)
