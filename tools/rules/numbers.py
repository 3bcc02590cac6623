"""The number of each versioned interface is one and the same at its owner, at its users and in ARCHITECTURE.md."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repository import ARCHITECTURE, Distribution, backticked


@dataclass(frozen=True, kw_only=True)
class Constant:
    """An interface number in the source: `name` in the file `path` of `distribution`."""

    distribution: str
    path: str
    name: str


# The owner's number first, then the numbers of those who speak to it.
INTERFACES = {
    "attention": [
        Constant(distribution="ccnet-core", path="attention/interface.py", name="API_VERSION"),
        Constant(distribution="ccnet-kernels", path="plugin.py", name="api_version"),
    ],
    "samples": [
        Constant(distribution="ccnet-data", path="sample.py", name="API_VERSION"),
        Constant(distribution="ccnet-train", path="datasets.py", name="SAMPLE_API_VERSION"),
    ],
    "weights": [Constant(distribution="ccnet-core", path="weights_folder.py", name="FORMAT_VERSION")],
    "recipe": [Constant(distribution="ccnet-train", path="recipe.py", name="RECIPE_VERSION")],
}


def number(tree: ast.Module, name: str) -> int | None:
    """Return the integer that `name` is set to in a module, in a class of it or as a keyword of a call."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=target)], value=value)
                | ast.AnnAssign(target=ast.Name(id=target), value=value)
                | ast.keyword(arg=target, value=value)
            ) if target == name:
                match value:
                    case ast.Constant(value=int(found)):
                        return found
                    case ast.Name(id=other) if other != name:
                        return number(tree, other)
    return None


def read_number(path: Path, name: str) -> int | None:
    """Return the integer that `name` is set to in the file `path`, or None."""
    return number(ast.parse(path.read_text()), name) if path.is_file() else None


def interface_faults(house: list[Distribution], rows: dict[str, list[str]]) -> Iterator[str]:
    """Compare the interface numbers in the source with one another and with the table."""
    sources = {distribution.name: distribution.source for distribution in house}
    rows = {name.partition(" ")[0]: row for name, row in rows.items()}
    for interface, constants in INTERFACES.items():
        paths = [
            sources.get(constant.distribution, Path(constant.distribution)) / constant.path for constant in constants
        ]
        numbers = [read_number(path, constant.name) for path, constant in zip(paths, constants, strict=True)]
        for path, constant, found in zip(paths, constants, numbers, strict=True):
            if found is None:
                yield f"{path}: no number {constant.name}, which the interface `{interface}` needs"
            elif numbers[0] not in (None, found):
                yield f"{path}: {constant.name} is {found}, but the owner's number of `{interface}` is {numbers[0]}"
        yield from row_faults(interface, constants[0], numbers[0], rows.get(interface))


def row_faults(interface: str, owner: Constant, owned: int | None, row: list[str] | None) -> Iterator[str]:
    """Compare one row of the table of interfaces with the owner's number."""
    if row is None or len(row) < 2:
        yield f"{ARCHITECTURE}: the table of interfaces has no row for `{interface}`"
        return
    module = f"{owner.distribution}/{owner.path.removesuffix('.py')}".replace("-", "_").replace("/", ".")
    if module not in backticked(row[0]):
        yield f"{ARCHITECTURE}: the owner of `{interface}` is {module}, not {row[0]}"
    if owned is not None and row[1].strip("` ") != str(owned):
        yield f"{ARCHITECTURE}: the number of `{interface}` is {owned}, not {row[1]}"
