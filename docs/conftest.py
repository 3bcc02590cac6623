"""The blocks of the concepts and tutorials are tests: each page is run from top to bottom in a folder of its own.

A block of Python or YAML whose first line is a comment with a file name is written to that file; other Python is
run, and so is bash. Neither reaches the Hub: a server on the loopback interface stands in for it.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import CodeBlockParser, SkipParser

HUB_SERVER = Path(__file__).resolve().parents[1] / "packages/ccnet-core/tests/hub_server.py"
NAMED = re.compile(r"# (\w[\w.-]*\.(?:py|yaml|toml))\n")
SECONDS = 120

run_python = PythonEvaluator()


def write(example: Example) -> bool:
    """Write a block that begins with a file name, and return whether it did."""
    named = NAMED.match(example.parsed)
    if named:
        Path(named[1]).write_text(example.parsed, "utf-8")
    return named is not None


def evaluate_python(example: Example) -> None:
    """Write the block to its file, or run it."""
    if not write(example):
        run_python(example)


def evaluate_file(example: Example) -> None:
    """Write the block to its file, which it must name."""
    assert write(example), "a block of this language must begin with a comment that names its file"


def evaluate_bash(example: Example) -> None:
    """Run the block with the commands of this environment; the first command that fails ends it."""
    script = ["bash", "-euo", "pipefail", "-c", example.parsed]
    done = subprocess.run(script, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"


def hub_server() -> ModuleType:
    """Return core's stand-in for the Hub."""
    specification = importlib.util.spec_from_file_location("hub_server", HUB_SERVER)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["hub_server"] = module  # its dataclasses look there for their types
    specification.loader.exec_module(module)
    return module


def set_up(namespace: dict[str, Any]) -> None:
    """Go to an empty folder, without a GPU, and lead the Hub's client to the loopback interface."""
    folder = tempfile.TemporaryDirectory()
    place = Path(folder.name)
    patch = pytest.MonkeyPatch()
    server = hub_server()
    hub = server.Hub()
    server.point_client_at(hub, place / "home", patch)
    variables = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(place / "home"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(place / "work"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for name, value in variables.items():
        patch.setenv(name, value)
    (place / "work").mkdir()
    patch.chdir(place / "work")
    patch.syspath_prepend(place / "work")
    namespace["undo"] = [patch.undo, folder.cleanup, hub.stop, lambda: sys.modules.pop("hub_server")]


def tear_down(namespace: dict[str, Any]) -> None:
    """Undo what `set_up` did."""
    for undo in namespace["undo"]:
        undo()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the Hub's client use what its HTTP library deprecates."""
    for item in items:
        if isinstance(item, SybilItem):
            item.add_marker(pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"))


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", evaluate_python),
        CodeBlockParser("yaml", evaluate_file),
        CodeBlockParser("toml", evaluate_file),
        CodeBlockParser("bash", evaluate_bash),
        SkipParser(),
    ],
    patterns=["concepts/*.md", "tutorials/*.md"],
    setup=set_up,
    teardown=tear_down,
).pytest()
