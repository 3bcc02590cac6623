"""What the repository says of itself: each distribution's pyproject.toml and the tables of ARCHITECTURE.md."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ARCHITECTURE = "ARCHITECTURE.md"


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What one packages/*/pyproject.toml declares."""

    root: Path
    name: str
    version: Version
    python: SpecifierSet
    dependencies: list[Requirement]
    extras: dict[str, list[Requirement]]

    @property
    def package(self) -> str:
        """The name it is imported by."""
        return self.name.replace("-", "_")

    @property
    def optional(self) -> list[Requirement]:
        """What its extras require."""
        return [requirement for requirements in self.extras.values() for requirement in requirements]

    @property
    def source(self) -> Path:
        """The folder of its package."""
        return self.root / "src" / self.package


def read_distribution(pyproject: Path) -> Distribution:
    """Read one pyproject.toml."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project.get("optional-dependencies", {})
    return Distribution(
        root=pyproject.parent,
        name=canonicalize_name(project["name"]),
        version=Version(project["version"]),
        python=SpecifierSet(project["requires-python"]),
        dependencies=[Requirement(text) for text in project["dependencies"]],
        extras={name: [Requirement(text) for text in texts] for name, texts in extras.items()},
    )


def names_of(requirements: list[Requirement]) -> set[str]:
    """Return the canonical names of the required distributions."""
    return {canonicalize_name(requirement.name) for requirement in requirements}


def cells(line: str) -> list[str]:
    """Return the cells of one line of a markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(text: str, *columns: str) -> dict[str, list[str]]:
    """Return the rows under a heading of these columns, by their first cell without its marks."""
    lines = iter(text.splitlines())
    for line in lines:
        if [cell.lower() for cell in cells(line)] == list(columns):
            break
    next(lines, None)  # |---|---|
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.lstrip().startswith("|"):
            break
        first, *rest = cells(line)
        rows[first.strip("`* ").lower()] = rest
    return rows


def backticked(cell: str) -> set[str]:
    """Return the names in backticks outside parentheses."""
    return set(re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell)))
