import csv
import re

import pytest

from ccnet_kernels.bench.table import Row, conditions_of, lines, read_csv, write_csv

ROW = Row(
    level="operator",
    shape="1x2x3x4x5",
    dtype="float32",
    layout="contiguous",
    step="forward",
    name="torch",
    kind="backend",
    time_ms=1.23456,
    ratio=1.0,
    peak_MB=2.0,
    gbytes_per_s=30.0,
    gflops_per_s=400.0,
    floor_ms=0.5,
    times_floor=2.46,
)
ABSENT = Row(
    level="operator",
    shape="1x2x3x4x5",
    dtype="float32",
    layout="contiguous",
    step="forward",
    name="flex",
    kind="backend",
    note="no backward",
)


def test_a_line_holds_the_figures_and_one_without_a_time_its_reason():
    header, timed, absent = lines([ROW, ABSENT])
    assert header.split() == ["step", "ms", "ratio", "MB", "GB/s", "GFLOP/s", "x", "floor", "note"]
    assert timed.split() == ["torch", "forward", "1.235", "1.00", "2.0", "30.0", "400.0", "2.5"]
    assert re.fullmatch(r"flex +forward( +-){6}  no backward", absent)


def test_the_file_holds_every_row_with_its_conditions(tmp_path):
    write_csv(tmp_path / "times.csv", [ROW, ABSENT], {"device": "a, b", "torch": "2"})
    with (tmp_path / "times.csv").open(newline="") as file:
        timed, absent = csv.DictReader(file)
    assert (timed["time_ms"], timed["peak_MB"], timed["device"], timed["torch"]) == ("1.235", "2", "a, b", "2")
    assert (absent["time_ms"], absent["note"]) == ("", "no backward")
    assert read_csv(tmp_path / "times.csv") == [timed, absent]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "cannot be read"), ("", "no column level"), ("level,shape\n1,2\n", "no column dtype"), ("\0", "csv: ")],
)
def test_another_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "old.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        read_csv(path)
    assert str(path) in str(raised.value)


def test_conditions_name_the_machine_the_versions_the_commit_and_the_rates():
    found = conditions_of("cpu", ["float32"], rounds=3, cold=False, commit="abc")
    names = ("device", "threads", "python", "torch", "numba", "numba-cuda", "copy_gbytes_per_s")
    assert all(found[name] for name in (*names, "product_float32_gflops_per_s"))
    assert (found["commit"], found["rounds"], found["cold"], found["driver"]) == ("abc", "3", "False", "")
