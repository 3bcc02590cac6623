import errno
from pathlib import Path

import pytest

from ccnet_core.errors import CCNetError
from ccnet_core.files import replace_folder, write_bytes, write_text


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


def test_folder_replaces_the_older_one_whole(tmp_path):
    with replace_folder(tmp_path / "f") as folder:
        (folder / "one").touch()
    with replace_folder(tmp_path / "f") as folder:
        (folder / "two").touch()
        assert names(tmp_path / "f") == ["one"]
    assert names(tmp_path / "f") == ["two"]
    assert names(tmp_path) == ["f"]


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


def test_failed_renaming_brings_the_older_folder_back(tmp_path, monkeypatch):
    with replace_folder(tmp_path / "f") as folder:
        (folder / "whole").touch()
    replace = Path.replace

    def fail_for_the_new_one(path, target):
        if (path / "new").exists():
            raise OSError("no rights")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_for_the_new_one)
    with pytest.raises(OSError, match="no rights"), replace_folder(tmp_path / "f") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "f") == ["whole"]
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
