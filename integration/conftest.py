import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
HUB_SERVER = Path(__file__).resolve().parents[1] / "packages/ccnet-core/tests/hub_server.py"


@pytest.fixture
def camvid_mini() -> Path:
    folder = SHARED / "data" / "camvid-mini"
    if not folder.is_dir():
        pytest.skip(f"the CamVid frames are not here: {folder}")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on the loopback interface, which the client of this process asks; see core's hub_server.py.

    `hub.variables` lead the client of another process to it.
    """
    specification = importlib.util.spec_from_file_location("hub_server", HUB_SERVER)
    module = importlib.util.module_from_spec(specification)
    sys.modules["hub_server"] = module  # its dataclasses look there for their types
    specification.loader.exec_module(module)
    server = module.Hub()
    module.point_client_at(server, tmp_path / "home", monkeypatch)
    server.variables = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "no_proxy": "127.0.0.1",
    }
    yield server
    server.stop()
    del sys.modules["hub_server"]


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
