import os
import subprocess
import sys
import warnings

import pytest

from ccnet_kernels.cuda import binary, build
from ccnet_kernels.cuda.binary import Binary, binary_of

MADE = Binary(parameters="PPi", threads=64, shared=0, code=b"\x7fELF\nwith\nlines")


@pytest.fixture
def built(monkeypatch):
    """Let `build` return MADE, and count its calls."""
    calls = []
    monkeypatch.setattr(build, "build", lambda *call: calls.append(call) or MADE)
    return calls


@pytest.fixture
def folder(monkeypatch, tmp_path):
    folder = tmp_path / "not yet there"
    monkeypatch.setenv("CCNET_KERNELS_CACHE", str(folder))
    return folder


def test_it_is_built_once_and_then_read(built, folder):
    assert [binary_of("name", (9, 0)), binary_of("name", (9, 0))] == [MADE, MADE]
    assert built == [("name", (9, 0))]
    [file] = folder.iterdir()
    assert file.name.startswith("name-sm_90-")


def test_every_kernel_and_capability_has_a_file_of_its_own(built, folder):
    for call in ("name", (9, 0)), ("name", (8, 0)), ("other", (9, 0)):
        binary_of(*call)
    assert (len(built), len(list(folder.iterdir()))) == (3, 3)


def shortened(content):
    return content[:-1]


def with_a_flipped_bit(content):
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("damage", [shortened, with_a_flipped_bit, lambda content: b"", lambda content: b"\x00" * 99])
def test_a_damaged_file_is_noticed_and_written_anew(built, folder, damage):
    binary_of("name", (9, 0))
    [file] = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert binary_of("name", (9, 0)) == MADE
    assert (len(built), file.read_bytes()) == (2, whole)


@pytest.mark.parametrize("cause", ["source", "compiler"])
def test_another_source_or_compiler_makes_another_file(built, folder, monkeypatch, cause):
    binary_of("name", (9, 0))
    if cause == "source":
        sources = binary._sources()
        monkeypatch.setattr(binary, "_sources", lambda: [*sources[:-1], sources[-1] + b"#"])
    else:
        monkeypatch.setattr(binary, "version", lambda name: "999")
    binary._origin.cache_clear()
    try:
        binary_of("name", (9, 0))
    finally:
        monkeypatch.undo()
        binary._origin.cache_clear()
    assert (len(built), len(list(folder.iterdir()))) == (2, 2)


def test_without_a_folder_that_can_be_written_it_is_built_with_one_warning(built, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("CCNET_KERNELS_CACHE", str(tmp_path / "a file"))
    with pytest.warns(UserWarning, match=r"cannot be kept in .*a file.* CCNET_KERNELS_CACHE") as caught:
        assert binary_of("name", (9, 0)) == MADE
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert binary_of("other", (9, 0)) == MADE
    assert len(built) == 2


def test_the_users_cache_is_taken_where_no_folder_is_named(built, monkeypatch, tmp_path):
    monkeypatch.delenv("CCNET_KERNELS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    binary_of("name", (9, 0))
    assert len(list((tmp_path / "ccnet_kernels").iterdir())) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    binary_of("name", (9, 0))
    assert len(list((tmp_path / "home" / ".cache" / "ccnet_kernels").iterdir())) == 1


READ = """
import hashlib, sys
from ccnet_kernels.cuda.binary import binary_of
made = binary_of("channel_dot_float32", (9, 0))
print(hashlib.sha256(made.code).hexdigest(), made.parameters, made.threads, "numba" in sys.modules)
"""


def test_processes_that_start_together_agree_and_a_later_one_imports_no_numba(folder):
    pytest.importorskip("cuda.core", reason="needs the extra cu12 or cu13")
    environment = {**os.environ, "CCNET_KERNELS_CACHE": str(folder)}
    command = [sys.executable, "-c", READ]
    together = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    first = {process.communicate()[0] for process in together}
    assert all(process.returncode == 0 for process in together)
    [made] = {line.rsplit(" ", 1)[0] for line in first}
    later = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert later.stdout == f"{made} False\n"
    assert len(list(folder.iterdir())) == 1
