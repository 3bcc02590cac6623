"""What is tested is what is declared: constraints.txt pins every dependency, and pre-commit runs the same ruff."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
PINS = {str(canonicalize_name(name)): Version(version) for name, _, version in (line.partition("==") for line in LINES)}


def test_every_line_pins_one_version_once() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line)] == []
    assert len(PINS) == len(LINES)


@pytest.mark.parametrize("path", sorted(ROOT.glob("packages/*/pyproject.toml")), ids=lambda path: path.parent.name)
def test_a_declared_range_admits_the_tested_version(path: Path) -> None:
    requirements = [Requirement(text) for text in tomllib.loads(path.read_text())["project"]["dependencies"]]
    strangers = [item for item in requirements if not item.name.startswith("ccnet-")]
    assert [item for item in strangers if not item.specifier.contains(PINS[canonicalize_name(item.name)])] == []


def test_pre_commit_runs_the_tested_ruff() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"ruff-pre-commit\s+rev: v(\S+)", text) == [str(PINS["ruff"])]
