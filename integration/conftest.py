import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def camvid_mini() -> Path:
    folder = SHARED / "data" / "camvid-mini"
    if not folder.is_dir():
        pytest.skip(f"the CamVid frames are not here: {folder}")
    return folder


@pytest.fixture
def environment():
    """The variables of this process without those of a launcher."""
    launcher = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CCNET_ATTENTION")
    return {
        name: value for name, value in os.environ.items() if name not in launcher and not name.startswith("ACCELERATE_")
    }


@pytest.fixture
def run(tmp_path, environment):
    """Run a Python module as a command, on the CPU, with further variables as keywords."""

    def run_module(*arguments, launcher=(), **variables):
        command = [*launcher, *map(str, arguments)] if launcher else [sys.executable, *map(str, arguments)]
        variables = environment | {"CUDA_VISIBLE_DEVICES": ""} | variables
        return subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=900)

    return run_module
