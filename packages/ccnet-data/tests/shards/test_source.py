import re

import fsspec
import pytest

from ccnet_data.shards.retry import BusyError, RefusedError
from ccnet_data.shards.source import is_url, opened

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def web(tmp_path, serve_faulty):
    (tmp_path / "a b").write_bytes(CONTENT)
    with serve_faulty(tmp_path) as server:
        yield server


def read(url, first=0, timeout=2.0):
    with opened(url, first, timeout) as source:
        return source.first, source.size, b"".join(iter(source.read, b""))


def test_a_url_has_a_scheme():
    assert all(map(is_url, ["http://a/b", "HTTPS://a", "hf://datasets/org/name", "s3+x://a", "file:///a"]))
    assert not any(map(is_url, ["data/a", "/data", "C:\\data", "a://b".replace("a", ""), "~/x"]))


def test_a_web_server_gives_a_file_from_any_byte(web):
    assert read(f"{web.address}/a%20b") == (0, 5120, CONTENT)
    assert read(f"{web.address}/a%20b", 100) == (100, 5120, CONTENT[100:])


def test_a_web_server_without_ranges_gives_the_whole_file(web):
    web.answers("whole")
    assert read(f"{web.address}/a%20b", 100) == (0, 5120, CONTENT)


def test_a_length_the_server_does_not_tell_is_unknown(web):
    web.answers("endless")
    assert read(f"{web.address}/a%20b") == (0, None, CONTENT + b"x" * 100)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_the_server_refuses_is_refused(web, status):
    web.answers(str(status))
    with pytest.raises(RefusedError, match=f"^HTTP {status} .*; check the address and your access$"):
        read(f"{web.address}/a%20b")


@pytest.mark.parametrize("status", [408, 416, 425, 429, 500, 502, 504])
def test_other_statuses_may_pass(web, status):
    web.answers(str(status))
    with pytest.raises(ConnectionError, match=f"^HTTP {status} "):
        read(f"{web.address}/a%20b")


def test_a_busy_server_says_how_long(web):
    web.answers("503")
    with pytest.raises(BusyError, match="HTTP 503 Service Unavailable") as raised:
        read(f"{web.address}/a%20b")
    assert raised.value.seconds == 0


def test_a_server_that_sends_nothing_is_given_up(web):
    web.answers("stall")
    with pytest.raises(TimeoutError):
        read(f"{web.address}/a%20b")


def test_other_urls_and_files_are_read_through_fsspec(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    fsspec.filesystem("memory").pipe("/ccnet/a", CONTENT)
    for place in (tmp_path / "a", (tmp_path / "a").as_uri(), "memory://ccnet/a"):
        assert read(str(place), 100) == (100, None, CONTENT[100:])


@pytest.mark.parametrize("place", ["memory://ccnet/none", "nothing://a", "file:///nowhere/none"])
def test_what_fsspec_cannot_open_is_refused(place):
    with pytest.raises(RefusedError):
        read(place)


def test_a_missing_filesystem_is_named():
    with pytest.raises(RefusedError, match=re.compile("cannot be opened.*sftp|paramiko", re.IGNORECASE)):
        read("sftp://host/a")
