"""Each distribution has the files that it must have, and no file is too large for git."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from repository import Distribution

REQUIRED_FILES = ("README.md", "LICENSE", "CHANGELOG.md")
LARGEST_FILE = 1_000_000  # bytes


def file_faults(distribution: Distribution) -> Iterator[str]:
    """Check the files that each distribution must have, and the Python it asks for."""
    root = distribution.root
    for path in [*(root / name for name in REQUIRED_FILES), distribution.source / "py.typed"]:
        if not path.is_file():
            yield f"{path}: is missing"
    if not any((root / "tests").rglob("test_*.py")):
        yield f"{root / 'tests'}: holds no test_*.py"
    if distribution.python.contains("3.10") or not distribution.python.contains("3.11"):
        yield f"{root / 'pyproject.toml'}: requires-python is {distribution.python}, not >=3.11"
    changelog = root / "CHANGELOG.md"
    heading = rf"^#+ .*(?<![\w.]){re.escape(str(distribution.version))}(?![\w.])"
    if changelog.is_file() and not re.search(heading, changelog.read_text(), re.MULTILINE):
        yield f"{changelog}: no heading names the current version {distribution.version}"


def size_faults(root: Path) -> Iterator[str]:
    """Find the files over 1 MB that are in git, or would be after `git add`."""
    if not (root / ".git").exists():
        return
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    for path in sorted({root / name for name in listing.split("\0") if name}):
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            yield f"{path}: {path.stat().st_size:,} bytes; git is for files under {LARGEST_FILE:,}"
