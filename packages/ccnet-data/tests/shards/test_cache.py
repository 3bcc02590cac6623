import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ccnet_data.errors import FetchError
from ccnet_data.shards import cache as cache_module
from ccnet_data.shards.cache import SIZE, Cache, default_folder
from ccnet_data.shards.manifest import Shard
from ccnet_data.shards.retry import Retry

BYTES = 100_000
CONTENTS = [np.random.default_rng(number).bytes(BYTES) for number in range(8)]
SHARDS = [
    Shard(file=f"train-{number:05d}-of-00008.parquet", rows=1, bytes=BYTES, sha256=hashlib.sha256(content).hexdigest())
    for number, content in enumerate(CONTENTS)
]
QUICK = Retry(attempts=4, timeout=5, first_wait=0.001, seconds=60)
NAMES = [shard.sha256 for shard in SHARDS]


@pytest.fixture
def web(tmp_path, serve_faulty):
    (tmp_path / "web").mkdir()
    for shard, content in zip(SHARDS, CONTENTS, strict=True):
        (tmp_path / "web" / shard.file).write_bytes(content)
    with serve_faulty(tmp_path / "web") as server:
        yield server


@pytest.fixture
def cache(tmp_path):
    return Cache(folder=tmp_path / "cache", size=3 * BYTES, retry=QUICK)


def read(cache, web, number):
    with cache.opened(f"{web}/{SHARDS[number].file}", SHARDS[number]) as file:
        return file.read()


def kept(cache):
    """Return the numbers of the shards that are in the folder."""
    return {NAMES.index(file.name) for file in cache.folder.iterdir() if file.name in NAMES}


def held_bytes(cache):
    total = 0
    for file in cache.folder.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # renamed or removed meanwhile
            continue
    return total


def test_a_shard_is_fetched_once(cache, web):
    assert [read(cache, web.address, 0) for _ in range(3)] == [CONTENTS[0]] * 3
    assert len(web.requests) == 1


def test_the_least_recently_used_goes_first(cache, web):
    for number in (0, 1, 2, 0, 3):
        read(cache, web.address, number)
    assert kept(cache) == {0, 2, 3}
    assert held_bytes(cache) == 3 * BYTES


def test_a_shard_in_use_stays(cache, web):
    with cache.opened(f"{web.address}/{SHARDS[0].file}", SHARDS[0]) as file:
        for number in range(1, 8):
            read(cache, web.address, number)
        assert 0 in kept(cache)
        assert file.read() == CONTENTS[0]
    read(cache, web.address, 1)
    assert kept(cache) == {1, 6, 7}


def test_a_cache_whose_shards_are_all_in_use_waits_then_says_so(tmp_path, web):
    cache = Cache(folder=tmp_path / "cache", size=BYTES, retry=Retry(seconds=0.2))
    with (
        cache.opened(f"{web.address}/{SHARDS[0].file}", SHARDS[0]),
        pytest.raises(FetchError, match="all of the 100000 bytes that the cache may hold have been in use"),
    ):
        read(cache, web.address, 1)
    assert read(cache, web.address, 1) == CONTENTS[1]


def test_a_shard_larger_than_the_cache_is_an_error(tmp_path, web):
    cache = Cache(folder=tmp_path / "cache", size=BYTES - 1)
    with pytest.raises(FetchError, match=r"train-00000.*: holds 100000 bytes, and the cache may hold 99999; give"):
        read(cache, web.address, 0)
    assert not web.requests


def test_a_shard_that_cannot_be_fetched_leaves_nothing(cache, web):
    web.fault = lambda path, number: "cut"
    with pytest.raises(FetchError, match="broken off"):
        read(cache, web.address, 0)
    assert held_bytes(cache) == 0


def test_a_file_that_a_loss_of_power_cut_is_fetched_anew(cache, web):
    read(cache, web.address, 0)
    with (cache.folder / NAMES[0]).open("r+b") as file:
        file.truncate(5)
    assert read(cache, web.address, 0) == CONTENTS[0]
    assert held_bytes(cache) == BYTES


def test_a_shard_removed_between_opening_and_locking_is_fetched_anew(cache, web, monkeypatch):
    read(cache, web.address, 0)
    locked, locks = cache_module._lock, []

    def lock(file, *, exclusive):
        if not locks:
            (cache.folder / NAMES[0]).unlink()
        locks.append(file)
        locked(file, exclusive=exclusive)

    monkeypatch.setattr(cache_module, "_lock", lock)
    assert read(cache, web.address, 0) == CONTENTS[0]
    assert len(web.requests) == 2
    assert kept(cache) == {0}


def test_a_folder_that_cannot_be_written_is_named(tmp_path, web):
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(folder=tmp_path / "file" / "cache")
    with pytest.raises(FetchError, match=r"file.*cannot be written \(Not a directory\); choose another cache"):
        read(cache, web.address, 0)


def test_shards_come_from_any_filesystem(cache):
    fsspec.filesystem("memory").pipe(f"/cache/{SHARDS[0].file}", CONTENTS[0])
    assert read(cache, "memory://cache", 0) == CONTENTS[0]


def test_the_folder_is_the_users_unless_one_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "ccnet-data" / "shards"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_folder() == Path.home() / ".cache" / "ccnet-data" / "shards"
    assert Cache().size == SIZE


def test_a_cache_can_be_pickled(cache):
    assert pickle.loads(pickle.dumps(cache)) == cache


def test_threads_of_one_process_fetch_a_shard_once(cache, web):
    found = []
    threads = [threading.Thread(target=lambda: found.append(read(cache, web.address, 0))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENTS[0]] * 6
    assert len(web.requests) == 1


def start(cache, web, numbers):
    """Start a process that reads the shards `numbers`; see read_shards.py."""
    retry, shards = json.dumps(asdict(cache.retry)), json.dumps([asdict(shard) for shard in SHARDS])
    script = Path(__file__).with_name("read_shards.py")
    words = [script, cache.folder, cache.size, retry, shards, web.address, *numbers]
    return subprocess.Popen([sys.executable, *map(str, words)])


def test_processes_keep_the_bound_and_read_what_was_written(cache, web):
    web.fault = lambda path, number: ("cut", "", "500", "")[number % 4]
    numbers = [np.random.default_rng(seed).integers(len(SHARDS), size=60) for seed in range(3)]
    patient = replace(cache, retry=replace(QUICK, attempts=50, longest_wait=0.01))
    processes = [start(patient, web, several) for several in numbers]
    largest = 0
    while any(process.poll() is None for process in processes):
        if cache.folder.exists():
            largest = max(largest, held_bytes(cache))
        time.sleep(0.002)
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert BYTES < largest <= cache.size


def test_processes_that_want_one_shard_fetch_it_once(cache, web):
    web.answers("dribble")
    processes = [start(cache, web, [0]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(web.requests) == 1


def test_a_process_killed_while_it_fetches_leaves_no_shard_and_no_lock(cache, web):
    web.answers("stall")
    process = start(replace(cache, retry=Retry(timeout=60)), web, [0])
    wait_for(lambda: web.requests)
    process.kill()
    process.wait()
    assert held_bytes(cache) == BYTES  # what it had reserved
    assert kept(cache) == set()
    for number in (1, 2, 3):
        assert read(cache, web.address, number) == CONTENTS[number]
    assert kept(cache) == {1, 2, 3}
    assert held_bytes(cache) == 3 * BYTES
    assert read(cache, web.address, 0) == CONTENTS[0]


def wait_for(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_process_forked_while_a_shard_is_fetched_keeps_no_lock(cache, web):
    web.answers("dribble")
    fetching = threading.Thread(target=partial(read, cache, web.address, 0))
    fetching.start()
    wait_for(lambda: list(cache.folder.glob("*.partial")))
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        fetching.join()
        assert read(cache, web.address, 0) == CONTENTS[0]
        for number in (1, 2, 3):
            read(cache, web.address, number)
        assert kept(cache) == {1, 2, 3}
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
