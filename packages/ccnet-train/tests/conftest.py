"""The tests bring a dataset provider of their own: `provider/` looks like an installed distribution."""

import os
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


@pytest.fixture
def command(tmp_path):
    """Run `ccnet_train` in processes of its own, on a CPU, by `launcher` and with `environment` on top."""

    def run(*arguments, launcher=(sys.executable,), **environment):
        clean = {
            key: value
            for key, value in os.environ.items()
            if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
            and not key.startswith("ACCELERATE_")
        }
        clean |= {"PYTHONPATH": str(PROVIDER), "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [*launcher, "-m", "ccnet_train", *map(str, arguments)],
            env=clean | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run
