import csv
import sys

import pytest
from bench_cases import wrong_by

from ccnet_kernels.bench import __main__ as command
from ccnet_kernels.bench.contenders import Contender
from ccnet_kernels.formula import plain_attention, plain_non_local

TINY = ["--device", "cpu", "--shape", "1", "2", "4", "4", "5", "--rounds", "1"]


@pytest.fixture
def ours(monkeypatch):
    """Put another implementation in the place of this distribution's backend."""

    def install(attend):
        everyone = [
            Contender(name="numba", attend=attend, why_not=lambda case: None, is_backend=True),
            Contender(name="all", attend=plain_non_local, why_not=lambda case: None, is_non_local=True),
        ]
        monkeypatch.setattr(command, "contenders", lambda only: everyone)

    return install


def test_the_module_runs_with_whatever_is_installed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", *TINY, "--only", "numba", "einsum"])
    command.main()
    printed = capsys.readouterr().out
    assert "needs a CUDA device; this tensor is on cpu" in printed
    assert "operator 1x2x4x4x5 float32 contiguous" in printed


def test_shapes_levels_and_dtypes_are_all_measured_and_written(ours, tmp_path, capsys):
    ours(plain_attention)
    path = tmp_path / "times.csv"
    clip = ["--shape", "1", "2", "4", "3", "4", "5"]
    command.main([*TINY, *clip, "--level", "operator", "block", "--dtype", "float32", "bfloat16", "--out", str(path)])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2 * 2 * 2
    assert len({(row["shape"], row["level"], row["dtype"]) for row in rows}) == 8
    assert all(float(row["time_ms"]) > 0 for row in rows)


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_a_wrong_backend_of_ours_stops_the_command_before_any_time(factor, ours, capsys, tmp_path):
    ours(wrong_by(factor, plain_attention))
    with pytest.raises(SystemExit, match=r"numba, operator .*: output is off by") as left:
        command.main([*TINY, "--out", str(tmp_path / "times.csv")])
    assert isinstance(left.value.code, str)  # which Python prints, and ends with status 1
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_a_range_of_sizes_gives_square_maps(ours, capsys):
    ours(plain_attention)
    command.main([*TINY, "--sizes", "2:6"])
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("operator")]
    assert [line.split()[1] for line in headings] == [f"1x2x4x{edge}x{edge}" for edge in (2, 3, 4, 6)]


def test_comparing_with_itself_passes_and_with_a_faster_past_fails(ours, tmp_path, capsys, monkeypatch):
    ours(plain_attention)
    monkeypatch.setattr("ccnet_kernels.bench.measure.medians", lambda calls, *_, **__: dict.fromkeys(calls, 2.0))
    path = tmp_path / "old.csv"
    command.main([*TINY, "--out", str(path)])
    command.main([*TINY, "--compare", str(path)])
    monkeypatch.setattr("ccnet_kernels.bench.measure.medians", lambda calls, *_, **__: dict.fromkeys(calls, 2.2))
    with pytest.raises(SystemExit, match=r"more than 5 % worse than before:\noperator .* forward numba: 2 -> 2.2 ms"):
        command.main([*TINY, "--compare", str(path)])


def test_tables_of_another_device_are_not_compared(ours, tmp_path, capsys):
    ours(plain_attention)
    path = tmp_path / "old.csv"
    command.main([*TINY, "--out", str(path)])
    with path.open(newline="") as file:
        device = next(csv.DictReader(file))["device"]
    path.write_text(path.read_text().replace(device, "another"))
    with pytest.raises(SystemExit) as left:
        command.main([*TINY, "--compare", str(path)])
    assert left.value.code == 2
    assert "not comparable: device was 'another'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "1", "0", "2", "2", "2"], "--shape takes five or six numbers from 1"),
        (["--shape", "1", "2", "2", "2"], "--shape takes five or six numbers from 1"),
        (["--rounds", "0"], "0 is not a number from 1"),
        (["--sizes", "32"], "32 is not FROM:TO"),
        (["--sizes", "5:5"], "5:5 holds no power of two"),
        (["--only", "mine"], "there is no mine here; there are numba, "),
        (["--compare", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["--plot", "out.png"], "--plot shows one shape, dtype and level over --sizes"),
        (["--device", "cuda"], "torch finds no CUDA device here"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as left:
        command.main(["--device", "cpu", *arguments])
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_plot_without_matplotlib_names_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        command.main([*TINY, "--sizes", "2:4", "--plot", "out.png"])
    assert "ccnet-kernels[plot]" in capsys.readouterr().err
