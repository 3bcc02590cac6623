import pytest

from ccnet_train import manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model").write_bytes(b"weights")
    (tmp_path / "state").write_bytes(b"state")
    manifest.write(tmp_path)
    return tmp_path


def test_files_as_they_were_written_have_no_damage(folder):
    assert manifest.damage(folder) == ""


@pytest.mark.parametrize("name", ["state", "best/model"])
@pytest.mark.parametrize("content", [b"", b"stat", b"statf", b"state "])
def test_a_file_with_other_content_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    assert manifest.damage(folder) == f"{name} is not what was written"


@pytest.mark.parametrize("name", ["state", "best/model", manifest.NAME])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert manifest.damage(folder) == f"{name} is missing"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"])
def test_a_damaged_manifest_is_named(folder, content):
    (folder / manifest.NAME).write_bytes(content)
    assert manifest.damage(folder).startswith(manifest.NAME)


def test_what_cannot_be_read_is_damaged(folder):
    (folder / "state").unlink()
    (folder / "state").mkdir()
    assert manifest.damage(folder) == "state cannot be read: Is a directory"


def test_the_digest_is_sha_256(folder):
    assert manifest.digest(folder / "state") == "4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e"
