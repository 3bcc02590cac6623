import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "export.py"


@pytest.fixture
def benchmark():
    spec = spec_from_file_location("export_benchmark", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_prints_and_writes_one_line_for_each_subject(benchmark, tmp_path, capsys):
    file = tmp_path / "export.csv"
    threads = str(torch.get_num_threads())
    benchmark.main(["--models", "ccnet_tiny", "33x50", "--rounds", "1", "--threads", threads, "--out", str(file)])
    printed = capsys.readouterr().out
    with file.open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["subject"] for row in table] == ["eager", "onnxruntime", "torch.export"]
    assert [(row["model"], row["picture"]) for row in table] == 3 * [("ccnet_tiny", "33x50")]
    assert all(float(row["ms"]) > 0 for row in table)
    assert printed.count("100.0000% of labels are equal") == 2
    assert f"ccnet_tiny | 33x50 | onnxruntime | {table[1]['ms']} | {table[1]['speed-up']}\n" in printed
