"""A file of shards, opened where it lies: on a web server, on a disk, or behind any other URL that fsspec knows."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .retry import BusyError, RefusedError, said

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError

# urllib.request and fsspec are imported inside functions: readers of files on this machine need not wait for them.

PIECE = 1 << 20
"""Bytes that are read at a time."""

_PASSING = (408, 416, 425, 429)
"""Statuses below 500 that a later request may not get: timeout, a file cut short, too early, too many requests."""


class Opened(NamedTuple):
    """`read()` gives the next bytes, b"" at the end. They begin at byte `first` of a file of `size` bytes, if known."""

    read: Callable[[], bytes]
    first: int
    size: int | None


def is_url(place: str) -> bool:
    """Return whether `place` is a URL and not a file or folder."""
    return re.match(r"[a-z][a-z0-9+.-]*://", place, re.IGNORECASE) is not None


@contextmanager
def opened(url: str, first: int, timeout: float) -> Iterator[Opened]:
    """Open the file at `url` at byte `first`, or at 0 where a web server gives only whole files.

    A web server that sends nothing for `timeout` seconds raises TimeoutError; other protocols have limits of their own.
    Raises RefusedError for what asking again does not mend, anything else for what it may.
    """
    with _http(url, first, timeout) if re.match("https?://", url, re.IGNORECASE) else _fsspec(url, first) as file:
        yield file


@contextmanager
def _http(url: str, first: int, timeout: float) -> Iterator[Opened]:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    # Of urllib: a connection for every file, so nothing is shared by threads or by processes that fork. A compressed
    # answer would have another length.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ccnet-data"}
    if first:
        headers["Range"] = f"bytes={first}-"
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        with error:
            raise _failure(error) from error
    with response:
        begin = _begin(response) if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        yield Opened(lambda: response.read1(PIECE), begin, begin + int(length) if length.isdecimal() else None)


def _begin(response: "HTTPResponse") -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None:
        raise ConnectionError("HTTP 206 without Content-Range")
    return int(found[1])


def _failure(error: "HTTPError") -> Exception:
    reason = f"HTTP {error.code} {error.reason}"
    if error.code < 500 and error.code not in _PASSING:
        return RefusedError(f"{reason}; check the address and your access")
    wait = error.headers.get("Retry-After", "")
    return BusyError(reason, float(wait)) if wait.isdecimal() else ConnectionError(reason)


@contextmanager
def _fsspec(url: str, first: int) -> Iterator[Opened]:
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
        file = system.open(path, "rb")
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise RefusedError(f"{said(error)}; check the address and your access") from error
    except (ImportError, ValueError) as error:
        raise RefusedError(f"cannot be opened ({said(error)})") from error
    with file:
        file.seek(first)
        yield Opened(lambda: file.read(PIECE), first, None)
