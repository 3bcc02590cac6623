import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "load.py"


@pytest.fixture
def benchmark():
    spec = spec_from_file_location("load_benchmark", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_row_has_the_medians_and_the_memory_over_the_size_of_the_file(benchmark):
    row = benchmark.row("x", [(3.0, 30.0), (1.0, 10.0), (2.0, 90.0)], 20)
    assert row == benchmark.Row(name="x", median_s=2.0, least_s=1.0, most_s=3.0, memory=1.5)


def test_command_prints_and_writes_one_line_for_each_subject(benchmark, tmp_path, capsys):
    benchmark.main(["--model", "ccnet_tiny", "--rounds", "1", "--out", str(tmp_path / "load.csv")])
    printed = capsys.readouterr().out
    with (tmp_path / "load.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["name"] for row in table] == [subject.name for subject in benchmark.SUBJECTS]
    assert all(float(row["median_s"]) > 0 for row in table)
    assert all(f"\n{ours} / {theirs}: " in printed for ours, theirs, _ in benchmark.RATIOS)
