"""Files that are written beside their place and renamed, so that a reader never sees half of one."""

import uuid
from pathlib import Path


def write_bytes(file: Path, content: bytes) -> None:
    """Write `content` to `file`, making its folders. Raises OSError if that cannot be done; nothing is left then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}-{uuid.uuid4().hex[:12]}")
    try:
        beside.write_bytes(content)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
