import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ccnet_core import files
from ccnet_core.errors import CCNetError
from ccnet_core.files import replace_file, replace_folder, require_folder, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_replaces_the_older_one_and_leaves_nothing_beside(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "old")
    write_text(tmp_path / "new" / "a.txt", "héllo")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "héllo"
    assert names(tmp_path / "new") == ["a.txt"]


def test_failed_write_keeps_the_older_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def fill_the_disk(path, data):
        with path.open("wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match=r"/a: cannot be written \(No space left on device\)"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_file_is_there_only_when_the_block_has_ended(tmp_path):
    write_bytes(tmp_path / "a.pt2", b"old")
    with replace_file(tmp_path / "a.pt2") as temporary:
        assert (temporary.suffix, temporary.read_bytes()) == (".pt2", b"")
        temporary.write_bytes(b"new")
        assert (tmp_path / "a.pt2").read_bytes() == b"old"
    assert (tmp_path / "a.pt2").read_bytes() == b"new"
    assert names(tmp_path) == ["a.pt2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CCNetError("no")])
def test_failure_keeps_the_older_file(tmp_path, error):
    write_bytes(tmp_path / "a", b"old")

    def fail():
        with replace_file(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_of_two_files_the_one_that_fails_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"/file/b: cannot be written \("), replace_file(tmp_path / "a"):
        write_bytes(tmp_path / "file" / "b", b"")
    assert names(tmp_path) == ["file"]


def test_place_where_no_file_can_be_written_is_named(tmp_path):
    (tmp_path / "a").touch()
    with (
        pytest.raises(OSError, match=r"/a/b: cannot be written \(.*\). Give another place"),
        replace_file(tmp_path / "a" / "b"),
    ):
        pass
    with pytest.raises(CCNetError, match="this is a folder"), replace_file(tmp_path):
        pass


def test_folder_is_made_and_nothing_left_in_it(tmp_path):
    require_folder(tmp_path / "a" / "b")
    require_folder(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"/file/folder: cannot be written \(Not a directory\). Give another place"):
        require_folder(tmp_path / "file" / "folder")


def test_failure_keeps_the_older_folder(tmp_path):
    with replace_folder(tmp_path / "f") as folder:
        (folder / "whole").touch()

    def fail():
        with replace_folder(tmp_path / "f") as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path / "f") == ["whole"]
    assert names(tmp_path) == ["f"]


@pytest.fixture(params=["in one step", "by two renames"])
def replacing(request, monkeypatch):
    """Both ways in which a folder takes the place of another."""
    if request.param == "by two renames":
        monkeypatch.setattr(files, "_exchange", lambda new, path: False)


def test_folder_replaces_the_older_one_whole(tmp_path, replacing):
    with replace_folder(tmp_path / "f") as folder:
        (folder / "one").touch()
    with replace_folder(tmp_path / "f") as folder:
        (folder / "two").touch()
        assert names(tmp_path / "f") == ["one"]
    assert names(tmp_path / "f") == ["two"]
    assert names(tmp_path) == ["f"]


def test_there_is_no_moment_without_a_folder(tmp_path, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("two folders change places in one step on Linux only")
    with replace_folder(tmp_path / "f") as folder:
        (folder / "one").touch()
    monkeypatch.setattr(files, "_rename_twice", lambda new, path: pytest.fail("renamed twice"))
    with replace_folder(tmp_path / "f") as folder:
        (folder / "two").touch()
    assert names(tmp_path / "f") == ["two"]


def test_the_last_of_two_wins(tmp_path, replacing):
    with replace_folder(tmp_path / "f") as last:
        (last / "last").touch()
        with replace_folder(tmp_path / "f") as first:
            (first / "first").touch()
    assert names(tmp_path / "f") == ["last"]
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("moment", ["before the first", "between the two"])
def test_process_that_comes_between_two_renames_is_replaced(tmp_path, monkeypatch, moment):
    monkeypatch.setattr(files, "_exchange", lambda new, path: False)
    rename, renamed = Path.rename, []

    def interfere(path, target):
        renamed.append(path)
        if moment == "before the first" and len(renamed) == 2:
            shutil.rmtree(tmp_path / "f")
        if moment == "between the two" and len(renamed) == 3:
            (tmp_path / "f").mkdir()
            (tmp_path / "f" / "other").touch()
        return rename(path, target)

    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").touch()
    monkeypatch.setattr(Path, "rename", interfere)
    with replace_folder(tmp_path / "f") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "f") == ["new"]
    assert names(tmp_path) == ["f"]


def test_failed_renaming_brings_the_older_folder_back(tmp_path, monkeypatch):
    with replace_folder(tmp_path / "f") as folder:
        (folder / "whole").touch()
    monkeypatch.setattr(files, "_exchange", lambda new, path: False)
    rename = Path.rename

    def fail_for_the_new_one(path, target):
        if (path / "new").exists() and not target.exists():
            raise OSError("no rights")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no rights"), replace_folder(tmp_path / "f") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "f") == ["whole"]
    assert names(tmp_path) == ["f"]


PROCESS = """
import sys
from pathlib import Path
from ccnet_core import files

if sys.argv[3] == "by two renames":
    files._exchange = lambda new, path: False
print("ready", flush=True)
input()
for round in range(300):
    with files.replace_folder(sys.argv[1]) as folder:
        for name in "abc":
            (folder / name).write_text(sys.argv[2])
"""


@pytest.mark.parametrize("way", ["in one step", "by two renames"])
def test_processes_at_the_same_time_leave_one_whole_folder(tmp_path, way):
    command = [sys.executable, "-W", "ignore", "-c", PROCESS, str(tmp_path / "f")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, who, way], **pipes) for who in "12"]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert len({(tmp_path / "f" / name).read_text() for name in "abc"}) == 1
    assert names(tmp_path / "f") == ["a", "b", "c"]
    assert names(tmp_path) == ["f"]


def test_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replace_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new"]


def test_file_or_current_folder_in_place_of_a_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(CCNetError, match="file: this is a file"), replace_folder(tmp_path / "file"):
        pass
    monkeypatch.chdir(tmp_path)
    for path in (".", "", "/"):
        with pytest.raises(CCNetError, match="current folder cannot be replaced"), replace_folder(path):
            pass
    assert names(tmp_path) == ["file"]


def test_place_below_a_file_is_named_as_it_was_given(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"/file/a\.txt: cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "")


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(CCNetError, match="this is a folder"):
        write_bytes(tmp_path, b"")
