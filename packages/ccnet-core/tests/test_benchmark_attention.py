import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from ccnet_core.testing import criss_cross_definition

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "attention.py"


@pytest.fixture
def benchmark(monkeypatch):
    """The program, for few channels."""
    monkeypatch.syspath_prepend(FILE.parent)  # where a script finds its neighbours
    spec = spec_from_file_location("attention_benchmark", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CHANNELS", 16)
    monkeypatch.setattr(module, "WIDTHS", {"query": 2, "key": 2, "value": 16})
    monkeypatch.setattr(module, "EXTENTS", ((3, 5),))
    return module


def test_einsum_form_follows_the_definition(benchmark):
    arguments = {name: tensor.double() for name, tensor in benchmark.make_arguments(2, 3, 5).items()}
    attended = criss_cross_definition(arguments["query"], arguments["key"], arguments["value"])
    expected = arguments["scale"] * attended + arguments["residual"]
    torch.testing.assert_close(benchmark.einsum_attention(**arguments), expected)


def test_wrong_form_gets_no_times(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "backend", lambda **arguments: 1.001 * benchmark.einsum_attention(**arguments))
    with pytest.raises(SystemExit, match=r"output is off by .* No times"):
        benchmark.main(["--rounds", "1", "--batches", "1", "--threads", str(torch.get_num_threads())])


def test_command_prints_and_writes_one_line_for_each_step(benchmark, tmp_path, capsys):
    file = tmp_path / "attention.csv"
    threads = str(torch.get_num_threads())
    benchmark.main(["--rounds", "1", "--batches", "1", "2", "--threads", threads, "--out", str(file)])
    printed = capsys.readouterr().out
    with file.open() as lines:
        table = list(csv.DictReader(lines))
    assert [(row["batch"], row["step"]) for row in table] == [
        (batch, step) for batch in "12" for step in ("forward", "forward + backward")
    ]
    assert all(f"\n{row['batch']} | 3x5 | {row['step']} | " in printed for row in table)
