from pathlib import Path

import pytest

from ccnet_data.files import write_bytes


def test_a_file_is_written_with_its_folders_and_written_over(tmp_path):
    file = tmp_path / "new" / "a.bin"
    write_bytes(file, b"old")
    write_bytes(file, b"new")
    assert file.read_bytes() == b"new"
    assert [entry.name for entry in file.parent.iterdir()] == ["a.bin"]


def test_a_write_that_breaks_off_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")

    def write_half(self, content):
        with self.open("wb") as stream:
            stream.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]
