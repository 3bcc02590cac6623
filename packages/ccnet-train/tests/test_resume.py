"""Runs in processes of their own that are killed at any moment, and go on as if they had not been."""

import random
import signal
import sys
import time

import pytest

from ccnet_train.recipe import to_yaml

EVERYTHING = (
    "train.accumulation=2",
    "train.weight_average=0.9",
    "optimiser.clip_gradient_norm=1.0",
    "data.train.replaced=7",
    "evaluate.every=5",
    "checkpoint.every=1",
    "log.every=2",
)


def write(squares, tmp_path, name, *overrides):
    path = tmp_path / f"{name}.yaml"
    path.write_text(to_yaml(squares(f"output={tmp_path / name}", *overrides)))
    return path


def metrics(tmp_path, name):
    return (tmp_path / name / "metrics.jsonl").read_bytes()


def kill_somewhere(process, run, delay, *, while_saving):
    """Kill `process` a while after it has begun to train, or to write a checkpoint; tell if it was writing one."""
    path = run / "metrics.jsonl"
    before = path.stat().st_mtime_ns if path.exists() else 0
    wait(process, lambda: path.exists() and path.stat().st_mtime_ns > before)
    if while_saving:
        wait(process, lambda: unfinished(run))
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return bool(unfinished(run))


def wait(process, reached):
    while process.poll() is None and not reached():
        time.sleep(0.001)


def unfinished(run):
    return list((run / "checkpoints").glob(".step-*"))


@pytest.mark.parametrize(
    ("kills", "steps"),
    [(4, 60), pytest.param(30, 300, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_after_any_number_of_kills_the_curve_is_that_of_an_uninterrupted_run(
    squares, command, background, tmp_path, kills, steps
):
    whole, killed = (
        write(squares, tmp_path, name, f"train.iterations={steps}", *EVERYTHING) for name in ("whole", "killed")
    )
    assert command("fit", whole).returncode == 0
    draws, while_saving = random.Random(kills), 0
    for number in range(kills):
        process = background(sys.executable, "-m", "ccnet_train", "fit", killed)
        saves = number % 2 == 1
        delay = draws.uniform(0, 0.02 if saves else 0.5)
        while_saving += kill_somewhere(process, tmp_path / "killed", delay, while_saving=saves)
    assert while_saving
    resumed = command("fit", killed)
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(tmp_path, "killed") == metrics(tmp_path, "whole")
    for name in ("best", "last"):
        weights = [(tmp_path / run / name / "model.safetensors").read_bytes() for run in ("whole", "killed")]
        assert weights[0] == weights[1]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    print(f"{while_saving} of {kills} kills came while a checkpoint was written or removed")
