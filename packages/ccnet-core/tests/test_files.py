import pytest

from ccnet_core.files import replace_folder, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_replaces_the_older_one_and_leaves_nothing_beside(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "old")
    write_text(tmp_path / "new" / "a.txt", "héllo")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "héllo"
    assert names(tmp_path / "new") == ["a.txt"]


def test_failed_write_keeps_the_older_file(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "a", "not bytes")
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
