import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
HUB_SERVER = Path(__file__).resolve().parents[1] / "packages/ccnet-core/tests/hub_server.py"
FAULTY_SERVER = Path(__file__).resolve().parents[1] / "packages/ccnet-data/tests/faulty_server.py"


@pytest.fixture
def camvid_mini() -> Path:
    folder = SHARED / "data" / "camvid-mini"
    if not folder.is_dir():
        pytest.skip(f"the CamVid frames are not here: {folder}")
    return folder


def module_at(place):
    """Return the module in a file, which is importable by its name meanwhile."""
    specification = importlib.util.spec_from_file_location(place.stem, place)
    module = importlib.util.module_from_spec(specification)
    sys.modules[place.stem] = module  # dataclasses look there for their types
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on the loopback interface, which the client of this process asks; see core's hub_server.py.

    `hub.variables` lead the client of another process to it.
    """
    module = module_at(HUB_SERVER)
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
def serve_faulty():
    """Serves the files of a folder, with faults, on the loopback interface; see data's faulty_server.py."""
    yield module_at(FAULTY_SERVER).serve
    del sys.modules["faulty_server"]


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


MARK = "CCNET_TEST_RUN"


@pytest.fixture
def launch(tmp_path, environment):
    """Start a command on the CPU, with further variables as keywords; `kill` finds it and all that it starts."""

    def start(*command, **variables):
        marked = environment | {"CUDA_VISIBLE_DEVICES": "", MARK: str(tmp_path)} | variables
        return subprocess.Popen(list(map(str, command)), env=marked, cwd=tmp_path)

    return start


@pytest.fixture
def kill(tmp_path):
    """Kill what `launch` started, and return the variables of each process."""

    def kill_all():
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "environ").read_text().split("\0")
            except OSError:  # it ended meanwhile
                continue
            variables = dict(word.split("=", 1) for word in words if "=" in word)
            if variables.get(MARK) == str(tmp_path):
                found[int(folder.name)] = variables
        for process in found:
            os.kill(process, signal.SIGKILL)
        return found

    return kill_all


@pytest.fixture
def wait_for():
    """Wait until there is a file."""

    def wait(path):
        deadline = time.monotonic() + 120
        while not path.exists():
            assert time.monotonic() < deadline, f"{path} did not appear"
            time.sleep(0.05)

    return wait
