import csv
import sys
from types import SimpleNamespace

import pytest

from ccnet_kernels import bench
from ccnet_kernels.formula import plain_attention
from ccnet_kernels.plugin import backend

TINY = ["--device", "cpu", "--shape", "1", "2", "3", "4", "5", "--rounds", "1"]


@pytest.fixture
def install(monkeypatch):
    def install(attend):
        class Other:
            version = "1.2"

            def why_unsupported(self, spec):
                return None

            def __call__(self, *arguments, **options):
                return attend(*arguments, **options)

        found = {"numba": backend, "other": Other()}
        points = [SimpleNamespace(name=name, load=lambda loaded=loaded: loaded) for name, loaded in found.items()]
        monkeypatch.setattr(bench, "entry_points", lambda group: points)

    return install


def test_every_backend_is_listed_with_times_or_a_reason(install, capsys, tmp_path):
    install(plain_attention)
    bench.main([*TINY, "--out", str(tmp_path / "times.csv")])
    printed = capsys.readouterr().out
    assert "needs a CUDA device; this tensor is on cpu" in printed
    with (tmp_path / "times.csv").open(newline="") as file:
        numba, other = csv.DictReader(file)
    assert (numba["forward"], other["note"]) == ("", "")
    assert float(other["forward_backward"]) > 0
    assert (other["unit"], other["shape_BDCHW"], other["version"]) == ("ms", "1x2x3x4x5", "1.2")
    assert all(other[column] for column in ("device", "torch", "numba", "numba-cuda"))


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_a_wrong_backend_stops_the_command_before_any_time(factor, install, capsys):
    install(lambda *arguments, **options: factor * plain_attention(*arguments, **options))
    with pytest.raises(SystemExit, match="other: output is off by"):
        bench.main(TINY)
    assert capsys.readouterr().out == ""


def test_a_wrong_gradient_is_named(install):
    def without_key_gradient(query, key, value, **options):
        return plain_attention(query, key.detach() + 0 * key, value, **options)

    install(without_key_gradient)
    with pytest.raises(SystemExit, match="other: key is off by"):
        bench.main(TINY)


def test_it_runs_with_whatever_is_installed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", *TINY])
    bench.main()
    assert "numba" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "1", "0", "2", "2", "2"], "--shape and --rounds take numbers from 1"),
        (["--rounds", "0"], "--shape and --rounds take numbers from 1"),
    ],
)
def test_impossible_sizes_are_refused_in_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as left:
        bench.main(["--device", "cpu", *arguments])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
