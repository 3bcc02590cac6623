import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from ccnet_data.errors import DataError
from ccnet_data.shards.columns import Columns
from ccnet_data.shards.write import GROUP_BYTES, GROUP_ROWS, stored_size, write_shard


def columns(encoding="raw", task="segmentation"):
    return Columns(encoding=encoding, quality=90 if encoding == "jpeg" else None, task=task, classes=3)


def flat(height, width, count):
    for number in range(count):
        yield {
            "image": np.full((3, height, width), number % 256, np.uint8),
            "label": np.zeros((height, width), np.uint8),
            "id": str(number),
        }


@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
@pytest.mark.parametrize("frames", [0, 2])
def test_what_is_said_of_a_shard_is_true_and_its_bytes_are_always_the_same(tmp_path, noise, encoding, frames):
    dataset = noise(frames=frames)
    form = columns(encoding, dataset.task)
    shard = write_shard(dataset, form, tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    assert (shard.file, shard.rows, shard.bytes) == ("a.parquet", 10, len(content))
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    write_shard(dataset, form, tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet").read_bytes() == content


def test_a_row_group_holds_a_megabyte_or_one_sample(tmp_path):
    write_shard(flat(256, 512, 5), columns(), tmp_path / "small")
    write_shard(flat(1024, 1024, 2), columns(), tmp_path / "large")
    small, large = (pq.ParquetFile(tmp_path / name).metadata for name in ("small", "large"))
    assert [small.row_group(number).num_rows for number in range(small.num_row_groups)] == [2, 2, 1]
    assert [large.row_group(number).num_rows for number in range(large.num_row_groups)] == [1, 1]
    assert GROUP_BYTES == 2 * 4 * 256 * 512


def test_tiny_pictures_are_divided_by_their_number(tmp_path):
    write_shard(flat(1, 1, GROUP_ROWS + 1), columns(), tmp_path / "tiny")
    metadata = pq.ParquetFile(tmp_path / "tiny").metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [GROUP_ROWS, 1]


def test_the_stored_size_counts_all_pictures(noise):
    clip = noise(frames=3)[3]
    assert stored_size(columns("raw", "video").row(clip)) == clip["image"].size + clip["label"].size
    row = columns("png", "video").row(clip)
    assert stored_size(row) == sum(len(frame["bytes"]) for frame in row["image"]) + len(row["label"]["bytes"])


def test_a_sample_that_cannot_be_read_leaves_no_file(tmp_path):
    def damaged():
        yield from flat(2, 2, 3)
        raise DataError("picture 3: damaged")

    with pytest.raises(DataError, match="picture 3: damaged"):
        write_shard(damaged(), columns(), tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_no_file_and_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"old")

    def refuse(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ccnet_data.shards.write._Hashing.write", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        write_shard(flat(2, 2, 3), columns(), tmp_path / "a.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    assert (tmp_path / "a.parquet").read_bytes() == b"old"
