"""An archive that lacks a file of its source is named, with the file."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

FILES = ["ccnet_core/__init__.py", "ccnet_core/py.typed", "ccnet_core/zoo/r50.yaml"]
LICENSE = "ccnet_core-0.1.0.dist-info/licenses/LICENSE"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return the program, beside a package with a data file and a compiled leftover."""
    for name in [*FILES, "ccnet_core/__pycache__/x.pyc"]:
        path = tmp_path / "packages/ccnet-core/src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    program = tmp_path / "tools/check_archives.py"
    program.parent.mkdir()
    program.write_text((Path(__file__).parents[1] / "check_archives.py").read_text())
    return program


def wheel(folder: Path, names: list[str]) -> Path:
    """Write a wheel of these files."""
    path = folder / "ccnet_core-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def sdist(folder: Path, names: list[str]) -> Path:
    """Write an sdist of these files."""
    path = folder / "ccnet_core-0.1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"ccnet_core-0.1.0/{name}"))
    return path


def check(program: Path, archive: Path) -> tuple[int, str]:
    """Run the program and return its exit code and output."""
    done = subprocess.run([sys.executable, program, archive], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_whole_wheel_and_sdist_pass(program: Path, tmp_path: Path) -> None:
    assert check(program, wheel(tmp_path, [*FILES, LICENSE]))[0] == 0
    in_source = [f"src/{name}" for name in FILES]
    assert check(program, sdist(tmp_path, [*in_source, "LICENSE", "README.md", "pyproject.toml"]))[0] == 0


@pytest.mark.parametrize("lacking", [*FILES, LICENSE])
def test_what_a_wheel_lacks_is_named(program: Path, tmp_path: Path, lacking: str) -> None:
    archive = wheel(tmp_path, [name for name in [*FILES, LICENSE] if name != lacking])
    assert check(program, archive) == (1, f"{archive}: lacks {lacking}\n")


def test_what_an_sdist_lacks_is_named(program: Path, tmp_path: Path) -> None:
    archive = sdist(tmp_path, [f"src/{name}" for name in FILES])
    code, output = check(program, archive)
    assert code == 1
    assert [line.rpartition(" ")[2] for line in output.splitlines()] == ["LICENSE", "README.md", "pyproject.toml"]
