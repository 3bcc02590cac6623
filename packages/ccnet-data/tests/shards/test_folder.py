import hashlib

import pytest

from ccnet_data.errors import DataError
from ccnet_data.shards.columns import Columns
from ccnet_data.shards.folder import ShardFolder, digest


@pytest.fixture
def manifest(tmp_path, noise, shards):
    return shards(tmp_path, noise())


@pytest.fixture
def folder(tmp_path):
    return ShardFolder(folder=tmp_path)


def test_a_whole_folder_has_no_faults(folder, manifest, tmp_path):
    shards = manifest.splits["train"]
    assert folder.manifest() == manifest
    assert folder(shards[0]) == tmp_path / "train-00000-of-00002.parquet"
    assert list(folder.absent(shards)) == []
    assert [folder.unopened(shard, Columns.of(manifest)) for shard in shards] == [None, None]
    assert [folder.altered(shard) for shard in shards] == [None, None]
    assert folder.surplus(manifest) is None


def test_a_manifest_that_is_missing_or_wrong_is_an_error(folder, manifest, tmp_path):
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json: format_version, .* is missing"):
        folder.manifest()
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read \(No such file"):
        folder.manifest()


def test_files_that_are_missing_or_too_short_are_named(folder, manifest):
    first, second = (folder(shard) for shard in manifest.splits["train"])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    size = second.stat().st_size
    assert list(folder.absent(manifest.splits["train"])) == [
        f"{first}: there is no such file, but the manifest names it; convert or fetch it again.",
        f"{second}: has {size} bytes, not {size + 1}; convert or fetch it again.",
    ]


def test_one_other_bit_is_told(folder, manifest):
    shard = manifest.splits["train"][0]
    content = bytearray(folder(shard).read_bytes())
    content[100] ^= 1
    folder(shard).write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    assert f"parquet: its SHA-256 is {found}, not {shard.sha256}" in str(folder.altered(shard))


def test_a_file_that_cannot_be_opened_is_told(folder, manifest):
    shard = manifest.splits["train"][0]
    folder(shard).write_bytes(bytes(shard.bytes))
    assert "not a readable shard" in str(folder.unopened(shard, Columns.of(manifest)))


def test_files_that_no_manifest_names_are_surplus(folder, manifest, tmp_path):
    (tmp_path / "train-00002-of-00003.parquet").write_bytes(b"")
    (tmp_path / "README.md").write_bytes(b"")
    assert folder.surplus(manifest) == (
        f"{tmp_path}: the manifest does not name train-00002-of-00003.parquet; remove them."
    )


def test_the_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(DataError, match="cannot be read"):
        digest(tmp_path / "b")
