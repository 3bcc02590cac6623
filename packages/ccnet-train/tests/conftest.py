"""The tests bring a dataset provider of their own: `provider/` looks like an installed distribution."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Before torch is imported. The networks are so small that a second thread only waits.
os.environ["OMP_NUM_THREADS"] = "1"

from ccnet_train import load_recipe

TESTS = Path(__file__).parent
PROVIDER = TESTS / "provider"
SQUARES = TESTS / "squares.yaml"


@pytest.fixture
def squares(tmp_path, monkeypatch):
    """Make recipes for the provider's pictures, with `tmp_path/run` as output folder."""
    monkeypatch.syspath_prepend(PROVIDER)

    def make(*overrides):
        return load_recipe(SQUARES, [f"output={tmp_path / 'run'}", *overrides])

    return make


def _environment(**more):
    """Return what a run on a CPU needs, with `more` on top, and nothing that a launcher has set."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        and not key.startswith("ACCELERATE_")
    }
    return clean | {"PYTHONPATH": str(PROVIDER), "CUDA_VISIBLE_DEVICES": ""} | more


@pytest.fixture
def start(tmp_path):
    """Run a command in processes of its own, on a CPU, with `environment` on top of what no launcher has set."""

    def run(*words, **environment):
        return subprocess.run(
            [*map(str, words)],
            env=_environment(**environment),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture
def background(tmp_path):
    """Start a command as `start` does, and return its process while it runs; its group is its own."""
    processes = []

    def run(*words, **environment):
        process = subprocess.Popen(
            [*map(str, words)],
            env=_environment(**environment),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:  # what a failed test left
        if process.poll() is None:
            _kill(process.pid)
            process.communicate()


def _kill(pid):
    """Kill a process and all that it started: a launcher's processes are groups of their own."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        _kill(int(child))
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def command(start):
    """Run `ccnet_train` by `launcher`."""

    def run(*arguments, launcher=(sys.executable,), **environment):
        return start(*launcher, "-m", "ccnet_train", *arguments, **environment)

    return run
