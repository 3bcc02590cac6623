"""Fail unless this environment holds the named packages of this repository, and none of its others.

`python -I tools/check_isolation.py ccnet_core`: -I keeps the working directory and PYTHONPATH out, so a source tree
that lies near cannot stand in for what was installed.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGES = ("ccnet_core", "ccnet_kernels", "ccnet_data", "ccnet_train")


def fault(package: str, wanted: bool) -> str | None:
    """Return what is wrong about `package` here, or None."""
    if not wanted:
        return f"{package} is importable and must not be" if importlib.util.find_spec(package) else None
    origin = importlib.import_module(package).__file__
    if origin is None or not Path(origin).is_relative_to(sys.prefix):
        return f"{package} comes from {origin}, not from {sys.prefix}"
    return None


def main(wanted: list[str]) -> int:
    """Check every package of this repository and print each fault."""
    if unknown := set(wanted) - set(PACKAGES):
        raise SystemExit(f"not a package of this repository: {', '.join(sorted(unknown))}")
    faults = [text for package in PACKAGES if (text := fault(package, package in wanted))]
    print("\n".join(faults) if faults else f"alone here: {', '.join(wanted)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
