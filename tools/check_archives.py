"""Fail unless each wheel and sdist holds all that its source folder holds: code, py.typed, data files and the licence.

`python tools/check_archives.py dist/*`, from the root of the repository. Standard library only.
"""

import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1] / "packages"


def contents(archive: Path) -> set[str]:
    """Return the names of the files in a wheel or an sdist, an sdist's without its top folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return set(wheel.namelist())
    with tarfile.open(archive) as sdist:
        return {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}


def expected(archive: Path, packages: Path = PACKAGES) -> set[str]:
    """Return the names that must be in `archive`, by the source folder it was built from."""
    name, version = archive.name.removesuffix(".tar.gz").split("-")[:2]
    source = packages / name.replace("_", "-")
    modules = {path.relative_to(source / "src") for path in (source / "src").rglob("*") if path.is_file()}
    modules = {path for path in modules if "__pycache__" not in path.parts} | {Path(name) / "py.typed"}
    if archive.suffix == ".whl":
        return {path.as_posix() for path in modules} | {f"{name}-{version}.dist-info/licenses/LICENSE"}
    return {f"src/{path.as_posix()}" for path in modules} | {"LICENSE", "README.md", "pyproject.toml"}


def main(archives: list[str]) -> int:
    """Print what each archive lacks."""
    lacking = [(path, name) for path in map(Path, archives) for name in sorted(expected(path) - contents(path))]
    for path, name in lacking:
        print(f"{path}: lacks {name}")
    if not lacking:
        print(f"{len(archives)} archives hold all of their sources")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
