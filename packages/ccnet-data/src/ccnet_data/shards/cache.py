"""A folder of fetched shards, bounded in bytes, that any number of processes of a machine share.

A shard is named by its SHA-256, so that a dataset converted anew never mixes with the old one. Each file is locked by
whoever reads or writes it (flock, which the system gives back when a process ends, however it ends); what is not locked
may go, the least recently used first. A shard being fetched counts with its whole size from the beginning.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import FetchError
from .fetch import fetch
from .manifest import Shard
from .retry import Retry

if TYPE_CHECKING:
    from filelock import FileLock

SIZE = 32 * 10**9
"""The bound in bytes if none is given."""

PARTIAL = ".partial"

_POLL = 0.05
"""Seconds between two looks whether there is room."""


def default_folder() -> Path:
    """Return `$XDG_CACHE_HOME`/ccnet-data/shards, where XDG_CACHE_HOME is ~/.cache unless it is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccnet-data" / "shards"


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Shards in `folder`, together at most `size` bytes, those being fetched included.

    It holds no open file and no lock between calls, so it can be pickled, forked and used by threads.
    """

    folder: Path = field(default_factory=default_folder)
    size: int = SIZE
    retry: Retry = field(default_factory=Retry)

    @contextmanager
    def opened(self, url: str, shard: Shard) -> Iterator[BinaryIO]:
        """Open `shard`, fetched from `url` if it is not here; it stays while the block lasts.

        If another process fetches it, this one waits. Raises FetchError for a shard larger than the cache, for one that
        cannot be fetched, and where no room has come free within `retry.seconds`.
        """
        with _unlocking(self._kept(shard) or self._fetched(url, shard)) as file:
            yield file

    def bring(self, url: str, shard: Shard) -> None:
        """Have `shard` here, as `opened` would."""
        with self.opened(url, shard):
            pass

    def _kept(self, shard: Shard) -> BinaryIO | None:
        """Return the shard, open and locked, or None if it is not here, or not whole as after a loss of power."""
        try:
            file = (self.folder / shard.sha256).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        _lock(file, exclusive=False)
        facts = os.fstat(file.fileno())
        # It may have been removed between opening and locking.
        if facts.st_nlink == 0 or facts.st_size != shard.bytes:
            file.close()
            return None
        os.utime(file.fileno())
        return file

    def _fetched(self, url: str, shard: Shard) -> BinaryIO:
        if shard.bytes > self.size:
            raise FetchError(
                f"{url}: holds {shard.bytes} bytes, and the cache may hold {self.size}; give a larger cache_size."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._exclusive(shard.sha256):
                # Where room is short, what was fetched may be removed before it is opened.
                while (file := self._kept(shard)) is None:
                    self._fetch(url, shard)
                return file
        except OSError as error:
            place = error.filename or self.folder
            raise FetchError(f"{place}: cannot be written ({error.strerror}); choose another cache.") from error

    def _fetch(self, url: str, shard: Shard) -> None:
        place = self.folder / shard.sha256
        partial = place.with_suffix(PARTIAL)
        try:
            with _unlocking(self._reserved(partial, shard.bytes)) as file:
                fetch(url, shard, file, self.retry)
                file.flush()
                os.fsync(file.fileno())
                with self._names():
                    partial.replace(place)
        finally:
            with self._names():
                partial.unlink(missing_ok=True)

    def _names(self) -> "FileLock":
        """Return the lock without which no file of the folder is made, renamed or removed."""
        return self._exclusive("names")

    def _exclusive(self, name: str) -> "FileLock":
        # Imported here: only those who fetch shards need it.
        from filelock import FileLock

        return FileLock(self.folder / f"{name}.lock")

    def _reserved(self, partial: Path, size: int) -> BinaryIO:
        """Return the new file `partial`, of `size` bytes that the disk has not written yet, once there is room."""
        deadline = time.monotonic() + self.retry.seconds
        while True:
            with self._names():
                partial.unlink(missing_ok=True)  # of a process that was killed
                if self._make_room(size):
                    file = partial.open("wb")
                    _lock(file, exclusive=True)
                    file.truncate(size)
                    return file
            if time.monotonic() > deadline:
                raise FetchError(
                    f"{self.folder}: all of the {self.size} bytes that the cache may hold have been in use for "
                    f"{self.retry.seconds:.0f} s; give a larger cache_size."
                )
            time.sleep(_POLL)

    def _make_room(self, needed: int) -> bool:
        """Remove what is not in use until `needed` bytes more may be held; return whether they may."""
        files = [(file, file.stat()) for file in self.folder.iterdir() if file.suffix in ("", PARTIAL)]
        free = self.size - sum(facts.st_size for _, facts in files)
        for file, facts in sorted(files, key=lambda entry: (entry[0].suffix != PARTIAL, entry[1].st_mtime_ns)):
            if free >= needed:
                break
            free += facts.st_size if _removed(file) else 0
        return free >= needed


def _removed(place: Path) -> bool:
    """Remove the file at `place` unless a process uses it; return whether it is gone."""
    with place.open("r+b") as file:  # over NFS only what may be written can be locked so
        try:
            _lock(file, exclusive=True)
        except BlockingIOError:
            return False
        place.unlink()
    return True


def _lock(file: BinaryIO, *, exclusive: bool) -> None:
    """Lock `file`, for writing and removing it or, shared, for reading it.

    Raises BlockingIOError if a process that uses it keeps this one from an exclusive lock.
    """
    import fcntl  # which Windows does not have

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)


@contextmanager
def _unlocking(file: BinaryIO) -> Iterator[BinaryIO]:
    """Unlock and close `file` at the end: a process forked meanwhile has it open too, which would keep the lock."""
    import fcntl

    with file:
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
