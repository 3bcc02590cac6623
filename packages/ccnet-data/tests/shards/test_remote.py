import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest

import ccnet_data
from ccnet_data import DataError
from ccnet_data.registry import check, source_named
from ccnet_data.testing import check_dataset

QUICK = {"attempts": 3, "timeout": 5, "patience": 60}
FAULTS = ("500", "", "", "cut", "", "", "corrupt", "", "", "503", "", "", "short", "", "")


@pytest.fixture
def web(tmp_path, beacon_shards, serve_faulty):
    shutil.copytree(beacon_shards, tmp_path / "web")
    with serve_faulty(tmp_path / "web") as server:
        yield server


@pytest.fixture
def remote(tmp_path, web):
    """Opens a split at the server, or at another root."""

    def load(split="train", **options):
        options = {"root": web.address, "cache": tmp_path / "cache", **QUICK, **options}
        return ccnet_data.load("shards", split=split, **options)

    return load


def test_shards_at_a_url_conform(remote):
    check_dataset(remote())


def test_samples_and_order_are_those_of_the_shards_on_this_machine(remote, beacon_shards):
    here, there = ccnet_data.load("shards", split="train", root=beacon_shards), remote()
    assert len(there) == len(here) == 47
    assert (there.classes, there.palette, there.task) == (here.classes, here.palette, here.task)
    for index in range(47):
        assert there[index]["id"] == here[index]["id"]
        for key in ("image", "label"):
            np.testing.assert_array_equal(there[index][key], here[index][key])
    orders = [dataset.order(3).index_at for dataset in (here, there)]
    assert [orders[0](position) for position in range(100)] == [orders[1](position) for position in range(100)]


def test_opening_fetches_the_manifest_and_a_sample_its_shard_once(remote, web):
    dataset = remote()
    assert {path for path, _ in web.requests} == {"manifest.json"}
    del web.requests[:]
    for index in (0, 3, 1, 2):
        dataset[index]
    assert web.requests == [("train-00000-of-00012.parquet", 0)]


def test_a_cache_of_two_shards_serves_a_whole_epoch(remote, web, tmp_path, beacon_shards):
    largest = max(file.stat().st_size for file in beacon_shards.glob("train*"))
    dataset = remote(cache_size=2 * largest)
    order = dataset.order(0)
    seen = Counter(dataset[order.order.index_at(position)]["id"] for position in range(47))
    assert set(seen.values()) == {1}
    assert len(seen) == 47
    assert sum(file.stat().st_size for file in (tmp_path / "cache").iterdir()) <= 2 * largest


def test_lanes_span_and_block_make_another_order(remote):
    orders = {
        tuple(map(dataset.order(0).order.index_at, range(47)))
        for dataset in (remote(), remote(lanes=3), remote(lanes=3, span=2), remote(lanes=3, block=4))
    }
    assert len(orders) == 4


def test_shards_come_through_fsspec(remote, beacon_shards):
    memory = fsspec.filesystem("memory")
    for file in beacon_shards.iterdir():
        memory.pipe(f"/shards/{file.name}", file.read_bytes())
    assert remote(root="memory://shards/")[46]["id"] == remote()[46]["id"]


def test_a_shard_that_cannot_be_fetched_is_named_with_the_byte(remote, web):
    dataset = remote()
    web.fault = lambda path, number: "cut"
    place = re.escape(f"{web.address}/train-00011-of-00012.parquet")
    with pytest.raises(DataError, match=rf"^{place}, byte \d+ of \d+: given up after 3 attempts .*broken off"):
        dataset[46]


def test_a_damaged_sample_names_the_url_and_not_the_cache(remote, web, tmp_path):
    dataset = remote()
    shard = dataset.shards[0]
    dataset[0]
    kept = tmp_path / "cache" / shard.sha256
    kept.write_bytes(bytes(shard.bytes))
    with pytest.raises(DataError, match=re.escape(f"{web.address}/{shard.file}, row 0: not a readable shard")):
        dataset[0]


def test_a_manifest_that_is_not_there_is_one_fault(web):
    address = f"{web.address}/none"
    assert check("shards", {"root": address}) == [
        f"{address}/manifest.json: HTTP 404 Not Found; check the address and your access."
    ]


def test_a_split_that_is_not_there_is_named(remote):
    with pytest.raises(DataError, match=r"there is no split 'trian'\. Did you mean 'train'"):
        remote("trian")


def test_verifying_fetches_every_shard_and_leaves_the_damaged_ones_out(web, tmp_path):
    file = web.folder / "train-00003-of-00012.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    source = source_named("shards")(root=web.address, cache=tmp_path / "cache", attempts=2)
    dataset, faults = source.partial("train")
    assert len(dataset) == 43
    assert [fault.split(",")[0] for fault in faults] == [f"{web.address}/{file.name}"]
    assert "damaged, its SHA-256 is" in faults[0]


def stream(root, cache, size, *, processes, workers, start, count):
    """Read `count` samples in every worker of every process; return [position, id] of all; see stream_shards.py."""
    script = Path(__file__).with_name("stream_shards.py")
    words = [script, root, cache, size, processes, workers, start, count]
    readers = [
        subprocess.Popen([sys.executable, *map(str, [*words, process, worker])], stdout=subprocess.PIPE, text=True)
        for process in range(processes)
        for worker in range(workers)
    ]
    answers = [reader.communicate() for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * len(readers)
    return [json.loads(line) for out, _ in answers for line in out.splitlines()]


@pytest.mark.timeout(600)
def test_processes_and_workers_over_a_faulty_server_lose_and_double_nothing(web, tmp_path, beacon_shards):
    web.fault = lambda path, number: FAULTS[number % len(FAULTS)] if path.endswith(".parquet") else ""
    size = 5 * max(file.stat().st_size for file in beacon_shards.glob("train*"))
    lines = stream(web.address, tmp_path / "cache", size, processes=2, workers=2, start=0, count=15)
    lines += stream(web.address, tmp_path / "cache", size, processes=1, workers=3, start=60, count=12)
    here = ccnet_data.load("shards", split="train", root=beacon_shards, lanes=2, block=6)
    order = here.order(5)
    expected = [[position, here[order.index_at(position)]["id"]] for position in range(96)]
    assert sorted(lines) == expected
    for epoch in range(2):
        assert len({name for position, name in lines if position // 47 == epoch}) == 47


HUB_PROGRAM = """
import json, sys
import ccnet_data

def answer(root):
    try:
        dataset = ccnet_data.load("shards", split="train", root=root, cache="cache", attempts=2)
        return [dataset[index]["id"] for index in (0, 20, 46)]
    except ccnet_data.DataError as error:
        return str(error)

print(json.dumps([answer(root) for root in sys.argv[1:]]))
"""


def test_shards_come_from_the_hub(tmp_path, beacon_shards, serve_hub):
    shutil.copytree(beacon_shards, tmp_path / "hub" / "org" / "beacon")
    roots = [f"hf://datasets/org/{name}" for name in ("beacon", "none", "gated")]
    with serve_hub(tmp_path / "hub") as address:
        done = subprocess.run(
            [sys.executable, "-c", HUB_PROGRAM, *roots],
            env={**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert (done.returncode, done.stderr) == (0, "")
    samples, unknown, gated = json.loads(done.stdout)
    here = ccnet_data.load("shards", split="train", root=beacon_shards)
    assert samples == [here[index]["id"] for index in (0, 20, 46)]
    for name, error in (("none", unknown), ("gated", gated)):
        assert f"hf://datasets/org/{name}/manifest.json: " in error
        assert error.endswith("check the address and your access.")
