"""Files that are written beside their place and renamed, so that a reader never sees half of one."""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccnet_core.errors import CCNetError


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, making parent folders. A reader sees the old content or the new one.

    Raises CCNetError if `path` is a folder, and OSError, which names `path`, if it cannot be written.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise CCNetError(f"{path}: this is a folder. Give the name of a file.")
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror}). Give another place.") from error
    finally:
        with contextlib.suppress(OSError):  # after the renaming, or where there is no folder, nothing is left
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that takes its place when the block ends without an error.

    An older folder at `path` is moved aside first and removed after: between two renames `path` is missing, but it is
    never incomplete. On an error the new folder is removed and the old one stays. Raises CCNetError if `path` is a
    file or the current folder.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_dir():
        raise CCNetError(f"{path}: this is a file. Give the name of a folder.")
    if path in (Path.cwd(), *Path.cwd().parents):
        raise CCNetError(f"{path}: the current folder cannot be replaced. Give a folder of its own.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        _swap(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    old = _beside(path)
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old)
