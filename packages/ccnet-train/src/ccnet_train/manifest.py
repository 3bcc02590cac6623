"""`manifest.json`: the SHA-256 of every file of a checkpoint, written last."""

import hashlib
import json
from pathlib import Path

NAME = "manifest.json"


def write(folder: Path) -> None:
    """Write the digests of all files below `folder`."""
    digests = {name: digest(folder / name) for name in names(folder)}
    (folder / NAME).write_text(json.dumps(digests, indent=1), "utf-8")


def damage(folder: Path) -> str:
    """Return what is wrong with the files below `folder`, "" if all are as they were written."""
    try:
        digests = json.loads((folder / NAME).read_text("utf-8"))
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError) as error:
        return f"{NAME} cannot be read: {error}"
    if not isinstance(digests, dict):
        return f"{NAME} holds no digests"
    return next(filter(None, (_damage(folder, name, expected) for name, expected in digests.items())), "")


def names(folder: Path) -> list[str]:
    """Return the files below `folder` but the manifest, sorted."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != NAME)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(folder: Path, name: str, expected: object) -> str:
    try:
        return "" if digest(folder / name) == expected else f"{name} is not what was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
