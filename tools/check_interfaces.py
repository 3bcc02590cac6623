"""Hold the four distributions to what ARCHITECTURE.md says of them.

`python tools/check_interfaces.py [ROOT]` reads two tables of ROOT/ARCHITECTURE.md by their headings:

    | distribution | runtime dependencies | never imports |     names in backticks; what stands in (...) is not read
    | interface | owner | number |                               `Attention`, `Samples`, `Weights` and `Recipe`

and compares them with the packages' pyproject.toml files and source, which it parses and never imports. It also checks
sibling ranges, the files each distribution must have, and the size of every file in git. Each fault is one line.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from repository import ARCHITECTURE, backticked, read_distribution, table
from rules.dependencies import dependency_faults, sibling_faults
from rules.files import file_faults, size_faults
from rules.imports import import_faults
from rules.numbers import interface_faults


def faults(root: Path) -> Iterator[str]:
    """Return every fault of the repository at `root`, each as `path: fault`."""
    house = [read_distribution(path) for path in sorted(root.glob("packages/*/pyproject.toml"))]
    text = (root / ARCHITECTURE).read_text() if (root / ARCHITECTURE).is_file() else ""
    rows = table(text, "distribution", "runtime dependencies", "never imports")
    yield from dependency_faults(house, rows)
    for distribution in house:
        never = backticked(rows[distribution.name][1]) if distribution.name in rows else set()
        yield from import_faults(distribution, never)
        yield from file_faults(distribution)
    yield from sibling_faults(house)
    yield from interface_faults(house, table(text, "interface", "owner", "number"))
    yield from size_faults(root)


def main(arguments: list[str]) -> int:
    """Check the repository at the given path, or the one this file lies in."""
    root = Path(arguments[0] if arguments else Path(__file__).parents[1]).resolve()
    found = [fault.replace(f"{root}/", "") for fault in faults(root)]
    print("\n".join(found) if found else "dependencies, imports and interface numbers agree with ARCHITECTURE.md")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
