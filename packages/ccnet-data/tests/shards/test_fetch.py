import gc
import hashlib
import random
import re
import socket
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ccnet_data.errors import FetchError
from ccnet_data.shards.fetch import fetch, fetch_text
from ccnet_data.shards.manifest import Shard
from ccnet_data.shards.retry import Retry

CONTENT = np.random.default_rng(0).bytes(3_000_001)
NAME = "train-00000-of-00001.parquet"
SHARD = Shard(file=NAME, rows=1, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
QUICK = Retry(attempts=3, timeout=2, first_wait=0.001)
PASSING = ("500", "503", "cut", "reset", "stall", "dribble", "short", "long", "endless", "corrupt", "whole", "empty")


@pytest.fixture
def web(tmp_path, serve_faulty):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / NAME).write_bytes(CONTENT)
    with serve_faulty(tmp_path / "web") as server:
        yield server


@pytest.fixture
def fetched(tmp_path, web):
    """Fetches the shard and returns the bytes that were written."""

    def fetch_shard(retry=QUICK, shard=SHARD, url=None):
        place = tmp_path / "target"
        with place.open("wb") as target:
            fetch(url or f"{web.address}/{NAME}", shard, target, retry)
            target.truncate()
        return place.read_bytes()

    return fetch_shard


def test_a_shard_comes_in_one_request(web, fetched):
    assert fetched() == CONTENT
    assert web.requests == [(NAME, 0)]


@pytest.mark.parametrize("fault", PASSING)
def test_every_fault_that_passes_is_survived(web, fetched, fault):
    web.answers(fault)
    assert fetched() == CONTENT


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_what_came_is_kept_and_the_rest_asked_for(web, fetched, fault):
    web.answers(fault, fault)
    assert fetched() == CONTENT
    firsts = [first for _, first in web.requests]
    assert firsts == [0, len(CONTENT) // 2, len(CONTENT) // 2 + (len(CONTENT) - len(CONTENT) // 2) // 2]


def test_a_server_without_ranges_begins_anew(web, fetched):
    web.answers("cut", "whole")
    assert fetched() == CONTENT


def test_a_damaged_shard_is_fetched_anew_from_its_first_byte(web, fetched):
    web.answers("cut", "corrupt")
    assert fetched() == CONTENT
    assert [first for _, first in web.requests] == [0, len(CONTENT) // 2, 0]


@pytest.mark.parametrize(
    ("fault", "byte", "reason"),
    [
        ("500", 0, "HTTP 500 Internal Server Error"),
        ("503", 0, "HTTP 503 Service Unavailable"),
        ("cut", 2_625_000, "broken off, 375001 bytes are missing"),
        ("short", 0, "wrong length, 1500000 bytes instead of 3000001"),
        ("long", 0, "wrong length, 3000101 bytes instead of 3000001"),
        ("endless", 2_097_152, "wrong length, more than 3000001 bytes"),
        ("corrupt", 3_000_001, f"damaged, its SHA-256 is [0-9a-f]{{64}} instead of {SHARD.sha256}"),
        ("stall", 2_625_000, "timed out"),
    ],
)
def test_a_fault_that_stays_is_one_error_with_shard_byte_and_reason(web, fetched, fault, byte, reason):
    web.fault = lambda path, number: fault
    place = re.escape(f"{web.address}/{NAME}, byte ")
    with pytest.raises(
        FetchError, match=rf"^{place}(\d+) of 3000001: given up after 3 attempts .*\({reason}\)"
    ) as raised:
        fetched()
    if fault != "endless":  # how many bytes are read at a time is up to the socket
        assert f"byte {byte} of" in str(raised.value)
    assert len(web.requests) == 3


def test_a_shard_that_is_not_there_is_asked_for_once(web, fetched):
    with pytest.raises(FetchError, match=r"/none, byte 0 of 3000001: HTTP 404 Not Found; check the address"):
        fetched(url=f"{web.address}/none")
    assert len(web.requests) == 1


def test_a_server_that_is_too_slow_as_a_whole_is_given_up(web, fetched):
    web.fault = lambda path, number: "dribble"
    with pytest.raises(FetchError, match=r"given up after 1 attempts in 0 s \(too slow\)"):
        fetched(Retry(seconds=0.05, timeout=5))


def test_no_server_at_all_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(FetchError, match=r"byte 0 of 3000001: given up after 3 attempts .*Connection refused"):
        fetch(f"http://127.0.0.1:{port}/{NAME}", SHARD, None or _Nothing(), QUICK)


class _Nothing:
    def seek(self, place):
        pass


def test_shards_come_through_fsspec_too(fetched):
    fsspec.filesystem("memory").pipe("/fetch/a", CONTENT)
    assert fetched(url="memory://fetch/a") == CONTENT


def test_a_full_disk_is_not_the_servers_fault():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    fsspec.filesystem("memory").pipe("/fetch/a", CONTENT)
    with full.open("wb", buffering=0) as target, pytest.raises(FetchError, match=r"^/dev/full: cannot be written"):
        fetch("memory://fetch/a", SHARD, target, QUICK)


def test_a_small_file_is_read_whole(web):
    (web.folder / "manifest.json").write_bytes(b'{"a": 1}')
    web.answers("500", "cut")
    assert fetch_text(f"{web.address}/manifest.json", QUICK) == b'{"a": 1}'
    assert len(web.requests) == 3


@pytest.mark.filterwarnings("error")
def test_fifty_runs_of_random_faults_end_with_the_shard_or_with_one_error(web, fetched):
    gc.collect()
    handles, threads, errors = _handles(), set(threading.enumerate()), []
    for seed in range(50):
        draw = random.Random(seed)
        faults = [draw.choice(("", *PASSING)) for _ in range(6)]
        web.answers(*faults)
        try:
            assert fetched(Retry(attempts=3, timeout=0.5, first_wait=0.001)) == CONTENT
        except FetchError as error:
            errors.append(str(error))
    assert 0 < len(errors) < 50
    said = rf"{web.address}/{NAME}, byte \d+ of {len(CONTENT)}: given up after 3 attempts"
    assert [error for error in errors if not re.match(said, error)] == []
    gc.collect()
    assert _handles() - handles == Counter()
    begun = {thread.name for thread in set(threading.enumerate()) - threads}
    assert [name for name in begun if "process_request_thread" not in name] == []  # those of the server


def _handles():
    """Return what this process has open, and how often, without the sockets of the server's threads that still end."""
    links = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(handle.readlink()))
    return Counter(link for link in links if "socket" not in link and "/proc/" not in link)
