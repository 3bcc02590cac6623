"""Each rule finds its fault in a small repository made for it, and the program says so."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "check_interfaces.py"

ARCHITECTURE = """
| distribution | runtime dependencies | never imports |
|---|---|---|
| ccnet-core | `torch`, `numpy`, `pillow` | `numba`, `ccnet_train`, `ccnet_data` |
| ccnet-kernels | `torch`, `numba`, `numba-cuda` (extras `cu12`, `cu13`) | `ccnet_core`, `ccnet_train` |
| ccnet-data | `numpy` | `torch` |
| ccnet-train | `ccnet-core`, `torch` | `numba`; `ccnet_kernels` and `ccnet_data` come by entry point |

| Interface | Owner | Number |
|---|---|---|
| **Attention** | `ccnet_core.attention.interface` | 3 |
| Samples | `ccnet_data.sample` | 1 |
| Weights folder | `ccnet_core.weights_folder` | 2 |
| Recipe | `ccnet_train.recipe` | 1 |
"""

DEPENDENCIES = {
    "core": ["torch>=2.13", "numpy>=2", "pillow>=11"],
    "kernels": ["torch>=2.13", "numba>=0.62", "numba-cuda>=0.30"],
    "data": ["numpy>=2"],
    "train": ["ccnet-core>=0.1,<0.2", "torch>=2.13"],
}

SOURCES = {
    "core/attention/interface.py": "API_VERSION = 3\n",
    "core/weights_folder.py": "FORMAT_VERSION: int = 2\n",
    "core/picture.py": "import json\n\nimport numpy as np\nfrom PIL import Image\n\nfrom ccnet_core.zoo import load\n",
    "kernels/plugin.py": "SPOKEN = 3\n\nclass Backend:\n    api_version = SPOKEN\n",
    "kernels/forward.py": "from numba import cuda\nfrom llvmlite import ir\n",
    "data/sample.py": "API_VERSION = 1\n",
    "train/datasets.py": "SAMPLE_API_VERSION = 1\n",
    "train/recipe.py": "RECIPE_VERSION = 1\n",
}


def pyproject(name: str) -> str:
    """Return the metadata of one distribution; core has the extra `kernels`."""
    extra = '[project.optional-dependencies]\nkernels = ["ccnet-kernels>=0.1,<0.2"]\n' if name == "core" else ""
    return (
        f'[project]\nname = "ccnet-{name}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
        f"dependencies = {DEPENDENCIES[name]}\n{extra}"
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Return a repository without a fault."""
    (tmp_path / "ARCHITECTURE.md").write_text(ARCHITECTURE)
    for name in DEPENDENCIES:
        root = tmp_path / f"packages/ccnet-{name}"
        package = root / f"src/ccnet_{name}"
        package.mkdir(parents=True)
        (root / "tests").mkdir()
        (root / "pyproject.toml").write_text(pyproject(name))
        (root / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-01)\n")
        for empty in (root / "README.md", root / "LICENSE", root / "tests/test_it.py", package / "py.typed"):
            empty.touch()
    for path, text in SOURCES.items():
        write(tmp_path, path, text)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def write(house: Path, module: str, text: str) -> None:
    """Write `module`, such as core/weights_folder.py, into its package."""
    name, _, path = module.partition("/")
    target = house / f"packages/ccnet-{name}/src/ccnet_{name}" / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)


def replace(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def check(house: Path) -> tuple[int, list[str]]:
    """Run the program and return its exit code and the lines it printed."""
    done = subprocess.run([sys.executable, PROGRAM, house], capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def only_fault(house: Path) -> str:
    """Return the one fault that the program finds."""
    code, lines = check(house)
    assert (code, len(lines)) == (1, 1), lines
    return lines[0]


def test_a_sound_repository_passes_with_one_line(house: Path) -> None:
    code, lines = check(house)
    assert code == 0, lines
    assert len(lines) == 1


def test_every_fault_is_printed(house: Path) -> None:
    write(house, "core/weights_folder.py", "FORMAT_VERSION = 2\nimport numba, ccnet_data\n")
    (house / "packages/ccnet-data/LICENSE").unlink()
    code, lines = check(house)
    assert code == 1
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("`torch`, `numpy`", "`torch`", "ccnet-core's dependency numpy stands only in pyproject.toml"),
        ("`numpy` | `torch`", "`numpy`, `datasets` | `torch`", "ccnet-data's dependency datasets stands only in the"),
        ("| ccnet-data |", "| ccnet-date |", "has no row for ccnet-data"),
        ("| ccnet-data |", "| ccnet-date |", "has a row for the unknown ccnet-date"),
        ("| `numpy` | `torch` |", "| `numpy` | torch |", "`never imports` holds no name in backticks"),
        ("interface` | 3 |", "interface` | 4 |", "the number of `attention` is 3, not 4"),
        ("`ccnet_data.sample`", "`ccnet_data.samples`", "the owner of `samples` is ccnet_data.sample, not"),
        ("| Recipe |", "| Receipt |", "the table of interfaces has no row for `recipe`"),
    ],
)
def test_the_tables_must_agree_with_the_packages(house: Path, old: str, new: str, fault: str) -> None:
    replace(house / "ARCHITECTURE.md", old, new)
    _, lines = check(house)
    assert any(line.startswith("ARCHITECTURE.md: ") and fault in line for line in lines), lines


def test_a_missing_table_is_a_fault_for_every_distribution(house: Path) -> None:
    (house / "ARCHITECTURE.md").unlink()
    _, lines = check(house)
    assert sum("has no row for ccnet-" in line for line in lines) == 4


@pytest.mark.parametrize(
    "statement",
    [
        "import numba",
        "import numba.cuda as nc",
        "from numba import njit",
        "def late():\n    import numba",
        "import importlib\nimportlib.import_module('numba')",
        "from importlib import import_module\nimport_module('numba.cuda')",
        "__import__('numba')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numba",
        "try:\n    import numba\nexcept ImportError:\n    numba = None",
    ],
)
def test_what_is_never_imported_is_found_wherever_it_hides(house: Path, statement: str) -> None:
    write(house, "core/late.py", statement + "\n")
    fault = only_fault(house)
    assert fault.startswith("packages/ccnet-core/src/ccnet_core/late.py:")
    assert "ccnet-core never imports numba" in fault


def test_the_name_of_a_distribution_forbids_its_modules(house: Path) -> None:
    replace(house / "ARCHITECTURE.md", "`numpy` | `torch` |", "`numpy` | `pillow`, `ccnet-core` |")
    write(house, "data/late.py", "import PIL.Image\nimport ccnet_core\n")
    _, lines = check(house)
    assert [line.partition("never imports ")[2] for line in lines] == ["pillow", "ccnet-core"]


def test_a_longer_name_with_the_same_beginning_is_another_module(house: Path) -> None:
    write(house, "data/table.py", "import torchlike\n")
    assert "does not declare torchlike" in only_fault(house)


@pytest.mark.parametrize(
    ("module", "statement", "fault"),
    [
        ("data/late.py", "def late():\n    import pandas", "ccnet-data does not declare pandas"),
        ("data/late.py", "from PIL import Image", "ccnet-data does not declare pillow"),
        ("train/late.py", "import yaml", "ccnet-train does not declare pyyaml"),
        ("kernels/late.py", "from cuda.core import Device", "ccnet-kernels does not declare cuda-core"),
        ("core/late.py", "import ccnet_kernels", "outside a function, but ccnet-kernels is only in an extra"),
    ],
)
def test_an_undeclared_import_is_found(house: Path, module: str, statement: str, fault: str) -> None:
    write(house, module, statement + "\n")
    assert fault in only_fault(house)


def test_numba_cuda_is_a_dependency_of_its_own(house: Path) -> None:
    replace(house / "packages/ccnet-kernels/pyproject.toml", ", 'numba-cuda>=0.30'", "")
    replace(house / "ARCHITECTURE.md", ", `numba-cuda`", "")
    assert "imports numba.cuda, but ccnet-kernels does not declare numba-cuda" in only_fault(house)


@pytest.mark.parametrize(
    "statement",
    [
        "def late():\n    import ccnet_kernels",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ccnet_kernels",
        "from . import hub",
        "from importlib import import_module\nimport_module('.hub', __package__)",
    ],
)
def test_an_extra_may_be_imported_late_and_the_own_package_always(house: Path, statement: str) -> None:
    write(house, "core/late.py", statement + "\n")
    assert check(house)[0] == 0


def test_a_folder_named_after_an_extra_is_the_door_to_it(house: Path) -> None:
    pyproject = house / "packages/ccnet-core/pyproject.toml"
    replace(pyproject, "[project.optional-dependencies]", "[project.optional-dependencies]\ngames = ['cards>=1']")
    write(house, "core/games/play.py", "from cards import Card\n")
    assert check(house)[0] == 0
    write(house, "core/late.py", "from cards import Card\n")
    assert "outside a function, but cards is only in an extra" in only_fault(house)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("==0.1.0", "pins a sibling"),
        (">=0.1", "needs a lower and an upper bound"),
        ("<0.2", "needs a lower and an upper bound"),
        ("", "needs a lower and an upper bound"),
        (">=0.2,<0.3", "does not admit the current 0.1.0"),
    ],
)
@pytest.mark.parametrize(("asking", "asked"), [("train", "core"), ("core", "kernels")])
def test_siblings_are_asked_for_by_a_range(house: Path, asking: str, asked: str, written: str, fault: str) -> None:
    path = house / f"packages/ccnet-{asking}/pyproject.toml"
    replace(path, f"ccnet-{asked}>=0.1,<0.2", f"ccnet-{asked}{written}")
    found = only_fault(house)
    assert found.startswith(f"packages/ccnet-{asking}/pyproject.toml: ")
    assert fault in found


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("kernels/plugin.py", "api_version = 2\n", "api_version is 2, but the owner's number of `attention` is 3"),
        ("train/datasets.py", "SAMPLE_API_VERSION = 2\n", "SAMPLE_API_VERSION is 2, but the owner's number"),
        ("train/datasets.py", "x = 1\n", "no number SAMPLE_API_VERSION, which the interface `samples` needs"),
        ("core/attention/interface.py", "x = 1\n", "no number API_VERSION, which the interface `attention` needs"),
        ("core/weights_folder.py", "FORMAT_VERSION = 7\n", "the number of `weights` is 7, not 2"),
        ("train/recipe.py", "RECIPE_VERSION = 7\n", "the number of `recipe` is 7, not 1"),
    ],
)
def test_an_interface_has_one_number(house: Path, module: str, text: str, fault: str) -> None:
    write(house, module, text)
    assert fault in only_fault(house)


@pytest.mark.parametrize(
    "text",
    [
        "class Backend:\n    api_version: int = 3\n",
        "backend = Backend(api_version=3)\n",
        "API = 3\nbackend = Backend(api_version=API)\n",
    ],
)
def test_a_plugin_may_declare_its_number_in_several_ways(house: Path, text: str) -> None:
    write(house, "kernels/plugin.py", text)
    assert check(house)[0] == 0


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "src/ccnet_data/py.typed"])
def test_a_missing_file_is_found(house: Path, name: str) -> None:
    (house / "packages/ccnet-data" / name).unlink()
    assert only_fault(house) == f"packages/ccnet-data/{name}: is missing"


def test_a_distribution_without_tests_is_found(house: Path) -> None:
    (house / "packages/ccnet-data/tests/test_it.py").unlink()
    assert only_fault(house) == "packages/ccnet-data/tests: holds no test_*.py"


@pytest.mark.parametrize("heading", ["## 0.1.0rc1", "## 10.1.0", "0.1.0", "## Unreleased"])
def test_the_changelog_names_the_current_version_in_a_heading(house: Path, heading: str) -> None:
    (house / "packages/ccnet-data/CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
    assert "no heading names the current version 0.1.0" in only_fault(house)


@pytest.mark.parametrize("written", [">=3.10", ">=3.12"])
def test_python_starts_at_3_11(house: Path, written: str) -> None:
    replace(house / "packages/ccnet-data/pyproject.toml", ">=3.11", written)
    assert f"requires-python is {written}" in only_fault(house)


def test_a_large_file_is_found_unless_git_ignores_it(house: Path) -> None:
    (house / "weights.bin").write_bytes(bytes(1_000_001))
    (house / "runs").mkdir()
    (house / "runs/weights.bin").write_bytes(bytes(1_000_001))
    (house / ".gitignore").write_text("/runs/\n")
    assert only_fault(house).startswith("weights.bin: 1,000,001 bytes")
