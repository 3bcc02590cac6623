import contextlib
import mmap
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ccnet_data.errors import DataError
from ccnet_data.shards.columns import Columns
from ccnet_data.shards.files import ShardFile
from ccnet_data.shards.write import write_shard

ENCODINGS = ["raw", "png", "jpeg"]


@pytest.fixture
def write(tmp_path):
    def write_file(dataset, encoding="raw"):
        columns = Columns(
            encoding=encoding,
            quality=90 if encoding == "jpeg" else None,
            task=dataset.task,
            classes=len(dataset.classes),
        )
        place = tmp_path / "train-00000-of-00001.parquet"
        return place, write_shard(dataset, columns, place), columns

    return write_file


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("frames", [0, 2])
def test_rows_are_the_samples_that_were_written_in_any_order(write, noise, same, encoding, frames):
    dataset = noise(length=40, frames=frames)
    file = ShardFile(*write(dataset, encoding))
    assert len(file) == 40
    for row in random.Random(0).sample(range(40), 40):
        same(file.sample(row), dataset[row])
    same(file.sample(np.int64(-1)), dataset[39])
    with pytest.raises(IndexError):
        file.sample(40)


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_rows_of_many_groups_are_found(write, same, tmp_path, encoding):
    rng = np.random.default_rng(0)
    samples = [
        {
            "image": rng.integers(0, 256, (3, side, 600), np.uint8),
            "label": np.zeros((side, 600), np.uint8),
            "id": str(side),
        }
        for side in range(1, 900, 90)
    ]
    columns = Columns(encoding=encoding, task="segmentation", classes=1)
    place = tmp_path / "a.parquet"
    file = ShardFile(place, write_shard(samples, columns, place), columns)
    assert 4 < pq.ParquetFile(place).num_row_groups < 10
    for row in (9, 0, 5, 4, 3, 8, 1):
        same(file.sample(row), samples[row])


def test_a_sample_belongs_to_the_caller(write, noise, same):
    file = ShardFile(*write(noise()))
    first = file.sample(3)
    first["image"][:] = 0
    first["label"][:] = 0
    same(file.sample(3), noise()[3])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_threads_get_what_they_asked_for(write, noise, encoding):
    file = ShardFile(*write(noise(length=60), encoding))
    rows = [random.Random(seed).randrange(60) for seed in range(400)]
    with ThreadPoolExecutor(8) as pool:
        ids = [sample["id"] for sample in pool.map(file.sample, rows)]
    assert ids == [noise(length=60)[row]["id"] for row in rows]


def resident_pages(file):
    """Return how many bytes of the map of `file` are in this process's memory."""
    with open("/proc/self/smaps") as maps:  # noqa: PTH123
        lines = maps.read().splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(str(file))]
    return sum(int(lines[start + 3].split()[1]) * 1024 for start in starts if lines[start + 3].startswith("Rss"))


def test_opening_reads_the_end_and_a_sample_its_own_part(tmp_path):
    side = 1024
    samples = (
        {"image": np.full((3, side, side), number, np.uint8), "label": np.zeros((side, side), np.uint8), "id": "a"}
        for number in range(16)
    )
    place = tmp_path / "a.parquet"
    columns = Columns(encoding="raw", task="segmentation", classes=1)
    shard = write_shard(samples, columns, place)
    file = ShardFile(place, shard, columns)
    # The system maps the neighbours of a page along with it, if they are in its cache.
    around = 2**20
    assert resident_pages(place) <= around
    assert file.sample(7)["image"].max() == 7
    assert resident_pages(place) <= 4 * side**2 + 4 * around
    assert shard.bytes > 16 * 4 * side**2


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_file_opened_again_takes_over_the_index_and_may_have_another_name(write, noise, same, encoding, monkeypatch):
    place, shard, columns = write(noise(), encoding)
    index = ShardFile(place, shard, columns).index
    monkeypatch.setattr(ShardFile, "_read_index", None)
    file = ShardFile(place, shard, columns, name="http://there/a", index=index)
    for row, sample in enumerate(noise()):
        same(file.sample(row), sample)
    os.truncate(place, mmap.PAGESIZE)
    with pytest.raises(DataError, match=r"^http://there/a, row 5: the file became shorter"):
        file.sample(5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_cut_short_after_opening_is_an_error(write, noise, encoding):
    place, shard, columns = write(noise(length=200), encoding)
    file = ShardFile(place, shard, columns)
    os.truncate(place, mmap.PAGESIZE)
    with pytest.raises(DataError, match=r"parquet, row 150: the file became shorter after it was opened"):
        file.sample(150)


def test_a_file_of_another_size_is_refused(write, noise):
    place, shard, columns = write(noise())
    with pytest.raises(DataError, match=rf"parquet: has {shard.bytes} bytes, not {shard.bytes + 1}; convert or fetch"):
        ShardFile(place, replace(shard, bytes=shard.bytes + 1), columns)
    place.write_bytes(b"")
    with pytest.raises(DataError, match="has 0 bytes"):
        ShardFile(place, shard, columns)
    place.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        ShardFile(place, shard, columns)


def test_a_file_with_other_rows_or_columns_is_refused(write, noise):
    place, shard, columns = write(noise())
    with pytest.raises(DataError, match=r"parquet: has 10 rows, not 11; convert or fetch"):
        ShardFile(place, replace(shard, rows=11), columns)
    with pytest.raises(DataError, match=r"parquet: has the columns image \(binary\), .*, not image \(struct<"):
        ShardFile(place, shard, replace(columns, encoding="png"))


@pytest.mark.parametrize("options", [{"compression": "snappy"}, {"data_page_size": 1, "write_batch_size": 1}])
def test_raw_values_that_lie_elsewhere_are_refused(write, noise, options):
    place, shard, columns = write(noise())
    pq.write_table(pq.read_table(place), place, use_dictionary=False, **{"compression": "none"} | options)
    file = ShardFile(place, replace(shard, bytes=place.stat().st_size), columns)
    with pytest.raises(DataError, match=r"row group 0: 'image' is not where it was written; convert or fetch"):
        file.sample(0)


def test_impossible_sizes_are_refused(tmp_path):
    columns = Columns(encoding="raw", task="segmentation", classes=3)
    for height, width in ((0, 5), (-1, -5), (2**31 - 1, 2**31 - 1)):
        row = {"image": [b"x"], "label": [b"x"], "height": [height], "width": [width], "id": ["a"]}
        place = tmp_path / f"{height}.parquet"
        pq.write_table(pa.table(row, schema=columns.schema()), place)
        shard = shard_of(place, rows=1)
        with pytest.raises(DataError, match="says that it holds no or too large pictures"):
            ShardFile(place, shard, columns).sample(0)


def shard_of(place, rows):
    from ccnet_data.shards.manifest import Shard

    return Shard(file=place.name, rows=rows, bytes=place.stat().st_size, sha256="0" * 64)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_damaged_bytes_are_read_or_refused(write, noise, encoding):
    place, shard, columns = write(noise(length=6), encoding)
    whole = place.read_bytes()
    rng = random.Random(encoding)
    for _ in range(300):
        content = bytearray(whole)
        # Half of the damage is to the footer, where it says what lies where.
        low = rng.choice([0, len(whole) - 4000])
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(max(0, low), len(whole))] = rng.randrange(256)
        place.write_bytes(content)
        try:
            file = ShardFile(place, shard, columns)
        except DataError:
            continue
        for row in range(6):
            try:
                sample = file.sample(row)
            except DataError:
                continue
            assert sample["image"].shape[1:] == sample["label"].shape


def test_a_footer_with_any_other_byte_leaves_the_number_of_rows(write, noise):
    place, shard, columns = write(noise(length=6))
    whole = place.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    refused = 0
    for changed in range(footer, len(whole) - 8):
        # Counts are written twofold (zigzag): this is one row less.
        place.write_bytes(whole[:changed] + bytes([(whole[changed] - 2) % 256]) + whole[changed + 1 :])
        try:
            file = ShardFile(place, shard, columns)
        except DataError:
            refused += 1
            continue
        assert len(file) == 6
        with contextlib.suppress(DataError):
            file.sample(5)
    assert refused > 100


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_that_are_no_parquet_are_refused(write, noise, encoding):
    place, shard, columns = write(noise(), encoding)
    whole = place.read_bytes()
    for content in (b"PAR1", b"PAR1" * 100, bytes(1000), whole[:-1], whole[:-8] + b"\xff" * 4 + b"PAR1"):
        place.write_bytes(content)
        with pytest.raises(DataError, match=r"parquet: not a readable shard \("):
            ShardFile(place, replace(shard, bytes=len(content)), columns)
