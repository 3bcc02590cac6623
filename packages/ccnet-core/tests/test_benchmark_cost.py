import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "cost.py"


@pytest.fixture(scope="module")
def cost():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FILE.parent)  # where a script finds its neighbours
        spec = spec_from_file_location("cost", FILE)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def by_hand(name, edge):
    """Multiply-adds of one forward pass, two operations each: 512 channels, 64 of them for query and key."""
    positions = edge * edge
    projections = positions * 512 * (64 + 64 + 512)
    if name.startswith("criss-cross"):
        return int(name[-1]) * 2 * (projections + positions * 2 * edge * (64 + 512))
    energies = {"non-local, explicit": 64, "non-local, fused": 8 * 64}[name]
    return 2 * (projections + positions * positions * (energies + 512))


@pytest.mark.parametrize("edge", [5, 97])
def test_operations_are_those_counted_by_hand(cost, edge):
    for subject in cost.BLOCKS:
        counted = cost.gigaflops(cost.forward, subject, (1, cost.CHANNELS, edge, edge))
        assert counted == pytest.approx(by_hand(subject.name, edge) / 1e9), subject.name


def test_operations_are_the_papers(cost):
    for subject in cost.BLOCKS:
        if subject.paper_gflops is not None:
            counted = cost.gigaflops(cost.forward, subject, (1, cost.CHANNELS, 97, 97))
            assert counted == pytest.approx(subject.paper_gflops, rel=0.005), subject.name


def test_checkpointing_adds_one_forward_pass_to_the_operations(cost):
    plain, checkpointed = (
        cost.gigaflops(cost.forward_and_backward, subject, (2, 3, 64, 64)) for subject in cost.NETWORKS
    )
    forward = cost.gigaflops(cost.forward, cost.NETWORKS[0], (2, 3, 64, 64))
    assert checkpointed == pytest.approx(plain + forward, rel=0.02)


@pytest.mark.parametrize("edge", [3, 49])
def test_operations_of_clips_are_those_counted_by_hand(cost, edge):
    frames, positions = cost.FRAMES, cost.FRAMES * edge * edge
    projections = positions * 512 * (64 + 64 + 512)
    cross = projections + positions * (frames + 2 * edge) * (64 + 512)
    expected = {
        "3-D criss-cross, R = 2": 2 * cross,
        "3-D criss-cross, R = 3": 3 * cross,
        "3-D non-local, explicit": projections + positions**2 * (64 + 512),
        "3-D non-local, fused": projections + positions**2 * (8 * 64 + 512),
    }
    shape = (1, cost.CHANNELS, frames, edge, edge)
    counted = {subject.name: cost.gigaflops(cost.forward, subject, shape) for subject in cost.CLIP_BLOCKS}
    assert counted == pytest.approx({name: 2 * count / 1e9 for name, count in expected.items()})


def test_peak_is_what_was_held_at_one_time(cost):
    kept = []

    def call():
        for _ in range(3):
            torch.zeros(500_000).sum()  # 2 MB, freed again each time
        kept.append(torch.zeros(250_000))  # 1 MB
        torch.zeros(500_000).sum()

    assert cost.peak_of_cpu(call) == pytest.approx(3_000_000, rel=1e-3)


def test_what_was_there_before_does_not_count(cost):
    before = torch.zeros(1_000_000)
    assert cost.peak_of_cpu(lambda: before + 1) == pytest.approx(4_000_000, rel=1e-3)


def test_map_too_large_for_the_machine_is_left_out_and_the_fused_form_is_not(cost, monkeypatch):
    monkeypatch.setattr(cost, "free_bytes", lambda device: 1000)
    explicit, fused = (cost.measure(subject, (1, cost.CHANNELS, 6, 6), "cpu") for subject in cost.BLOCKS[-2:])
    assert explicit.forward_mb is None
    assert explicit.both_mb is None
    assert explicit.forward_gflops > 0
    assert fused.both_mb > fused.forward_mb > 0
    assert "non-local, explicit, 1x512x6x6: not run" in cost.too_large(explicit)


def test_explicit_block_holds_the_maps_that_an_estimate_counts(cost):
    subject, shape = cost.CLIP_BLOCKS[2], (1, cost.CHANNELS, cost.FRAMES, 24, 24)
    for name, call in (("forward", cost.forward), ("both", cost.forward_and_backward)):
        maps = 4 * (cost.FRAMES * 24 * 24) ** 2 / 1e6
        assert cost.megabytes(call, subject, shape, "cpu") / maps == pytest.approx(cost.MAPS_HELD[name], abs=0.9)


def test_a_long_call_is_not_timed(cost, monkeypatch):
    monkeypatch.setattr(cost, "MOST_TIMED", 0)
    assert cost.measure(cost.CLIP_BLOCKS[0], (1, cost.CHANNELS, cost.FRAMES, 2, 2), "cpu").forward_s is None


def test_command_prints_and_writes_one_line_for_each_subject(cost, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cost, "PICTURES", (2, 3, 64, 64))
    file = tmp_path / "cost.csv"
    cost.main(["--sizes", "6", "--clips", "3", "--out", str(file)])
    printed = capsys.readouterr().out
    with file.open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["name"] for row in table] == [
        subject.name for subject in (*cost.BLOCKS, *cost.NETWORKS, *cost.CLIP_BLOCKS)
    ]
    assert all(f"\n{row['name']} " in printed for row in table)
    clips, networks = table[-4:], table[-6:-4]
    plain, checkpointed = (float(row["both_mb"]) for row in networks)
    assert checkpointed < plain
    assert all(float(row["both_s"]) >= 0 for row in clips)
    assert {row["both_s"] for row in table[:-4]} == {""}


def test_what_is_missing_is_said_before_anything_is_measured(cost, monkeypatch, capsys):
    monkeypatch.setattr(cost, "find_spec", lambda name: None)
    monkeypatch.setattr(cost, "rows", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, message in (
        (["--plot", "cost.png"], "--plot needs matplotlib"),
        (["--device", "cuda"], "torch sees no CUDA device"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cost.main(arguments)
        assert message in capsys.readouterr().err
