"""Files that are written beside their place and renamed, so that a reader never sees half of one."""

import contextlib
import ctypes
import errno
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccnet_core.errors import CCNetError


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, as :func:`replace_file` does."""
    with replace_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Give an empty file beside `path`, of the same ending, that takes its place when the block ends without an error.

    Makes parent folders. A reader sees the old content or the new one. On an error, Ctrl-C too, the new file is removed
    and the old one stays. A process that is killed leaves a file `.NAME-xxxxxxxxxxxx.tmp.ENDING` beside `path`, which
    nobody uses or removes. Raises CCNetError if `path` is a folder, and OSError, which names `path`, if it cannot be
    written; every OSError of the block is taken for that.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise CCNetError(f"{path}: this is a folder. Give the name of a file.")
    temporary = _beside(path, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:  # it was raised here, for another file within the block
            raise
        raise OSError(f"{path}: cannot be written ({error.strerror}). Give another place.") from error
    finally:
        with contextlib.suppress(OSError):  # after the renaming, or where there is no folder, nothing is left
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def require_folder(path: str | Path) -> None:
    """Make the folder `path` if it is missing. Raises OSError, which names it, if no file can be written there."""
    path = Path(path).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror}). Give another place.") from error


@contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that takes its place when the block ends without an error.

    Of several processes that do so at the same time the last one wins. On Linux the two folders change places in one
    step, where the file system can; elsewhere `path` is missing for a moment between two renames. It is never
    incomplete, but files opened before and after may be of two folders. On an error the new folder is removed and the
    old one stays. A process that is killed leaves a folder `.NAME-xxxxxxxxxxxx.tmp` beside `path`, which nobody uses or
    removes. Raises CCNetError if `path` is a file or the current folder.
    """
    path = Path(path).resolve()
    if _is_file(path):
        raise CCNetError(f"{path}: this is a file. Give the name of a folder.")
    if path in (Path.cwd(), *Path.cwd().parents):
        raise CCNetError(f"{path}: the current folder cannot be replaced. Give a folder of its own.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        _take_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # now the old folder, or the new one after an error


def _is_file(path: Path) -> bool:
    """Tell whether something that is no folder is there, in one look: between two, another process may replace it."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _beside(path: Path, ending: str = "") -> Path:
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}.tmp{ending}")


def _take_place(new: Path, path: Path) -> None:
    """Rename `new` to `path`. If there is a folder, it is called `new` then, or gone."""
    while not (_rename(new, path) or _exchange(new, path) or _rename_twice(new, path)):
        pass  # another process was faster, and is replaced now


def _rename(new: Path, path: Path) -> bool:
    """Return False if there is a folder that is not empty."""
    try:
        new.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _exchange(new: Path, path: Path) -> bool:
    """Let the two folders change places in one step; return False where that cannot be."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    here, exchange = -100, 2  # AT_FDCWD of fcntl.h, RENAME_EXCHANGE of linux/fs.h
    return rename is not None and rename(here, bytes(new), here, bytes(path), exchange) == 0


def _rename_twice(new: Path, path: Path) -> bool:
    """Move the older folder aside; return False if another process did so, or put its own in place, first."""
    old = _beside(path)
    try:
        path.rename(old)
    except FileNotFoundError:
        return False
    try:
        renamed = _rename(new, path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return renamed
