"""A missing package, a sibling too many and a stray source tree are each found."""

import subprocess
import venv
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "check_isolation.py"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site-packages of an environment that holds ccnet_core alone, with its python three levels up."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    site_packages = next(place.glob("lib/python*/site-packages"))
    (site_packages / "ccnet_core").mkdir()
    (site_packages / "ccnet_core/__init__.py").touch()
    return site_packages


def check(environment: Path, *packages: str) -> tuple[int, str]:
    """Run the program there and return its exit code and output."""
    python = environment.parents[2] / "bin/python"
    done = subprocess.run([python, "-I", PROGRAM, *packages], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_package_alone_passes(environment: Path) -> None:
    assert check(environment, "ccnet_core") == (0, "alone here: ccnet_core\n")


def test_a_sibling_too_many_is_found(environment: Path) -> None:
    assert "ccnet_core is importable and must not be" in check(environment)[1]


def test_a_missing_package_is_found(environment: Path) -> None:
    code, output = check(environment, "ccnet_core", "ccnet_data")
    assert code != 0
    assert "ccnet_data" in output


def test_a_package_from_elsewhere_is_found(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "ccnet_data").mkdir()
    (tmp_path / "ccnet_data/__init__.py").touch()
    (environment / "elsewhere.pth").write_text(f"{tmp_path}\n")
    code, output = check(environment, "ccnet_core", "ccnet_data")
    assert (code, f"ccnet_data comes from {tmp_path}" in output) == (1, True)


def test_an_unknown_name_is_refused(environment: Path) -> None:
    assert check(environment, "ccnet-core")[0] != 0
