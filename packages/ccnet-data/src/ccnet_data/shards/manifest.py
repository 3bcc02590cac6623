"""The manifest of converted shards: what the dataset is, and the rows, the size and the hash of every file."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..classes import read_classes
from ..errors import DataError, enumerate_some, nearest
from ..files import write_bytes
from ..options import Reader, one_of, several, text, whole_number
from ..sample import IGNORE_INDEX, Colour

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1
RAW, PNG, JPEG = ENCODINGS = ("raw", "png", "jpeg")
TASKS = ("segmentation", "video", "instances")
QUALITIES = (1, 100)

_SPLIT = r"\w+(?:\.\w+)*"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of a split: its name beside the manifest, its samples, its size in bytes, its SHA-256 in hexadecimal."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was converted and how, and the shards of each split in the order of their samples.

    `dataset` is the name that `ccnet_data.load` took. `encoding` is that of the pictures, "raw", "png" or "jpeg";
    `quality`, 1 to 100, is that of JPEG and None for the others. The rest is what the dataset told about itself.
    """

    format_version: int = FORMAT_VERSION
    dataset: str
    encoding: str
    quality: int | None
    task: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore_index: int = IGNORE_INDEX
    flip_pairs: tuple[tuple[int, int], ...]
    splits: dict[str, tuple[Shard, ...]]

    def shards(self, split: str, where: str) -> tuple[Shard, ...]:
        """Return the shards of `split`. Raises DataError, beginning with `where`, with the nearest names."""
        if split not in self.splits:
            raise DataError(f"{where}: there is no split {split!r}.{nearest(str(split), self.splits)}")
        return self.splits[split]


def shard_name(split: str, number: int, count: int) -> str:
    """Return the name of shard `number` of `count`, as the Hub has it: train-00000-of-00012.parquet."""
    return f"{split}-{number:05d}-of-{count:05d}.parquet"


def is_split_name(name: str) -> bool:
    """Return whether a split can be called `name`, in the names of files and on the Hub."""
    return re.fullmatch(_SPLIT, name) is not None


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return `manifest` as the JSON that `read_manifest` takes; the same one gives the same bytes."""
    return (json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n").encode()


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `folder`/manifest.json beside its place and rename it. Raises OSError if that cannot be done."""
    write_bytes(folder / MANIFEST_FILE, manifest_bytes(manifest))


def read_manifest(content: bytes | str, where: str) -> Manifest:
    """Return the manifest in `content`, JSON text.

    Raises DataError, beginning with `where`, the place it comes from, and the key that is wrong: unknown, missing, of
    another type or range, a file name that leads elsewhere or comes twice, a later version of the format.
    """
    value = _parsed(content, where)
    _require_known_version(value, where)
    manifest = Manifest(**_read_object(value, _MANIFEST, where))
    _require_consistent(manifest, where)
    return manifest


def read_shard(value: object, where: str) -> Shard:
    """Return the shard that the JSON object `value` describes. Raises DataError, beginning with `where`."""
    return Shard(**_read_object(value, _SHARD, where))


def _parsed(content: bytes | str, where: str) -> object:
    try:
        return json.loads(content, object_pairs_hook=_without_repeats)
    # UnicodeDecodeError and JSONDecodeError are ValueErrors; so is a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not a manifest in JSON ({error}); convert or fetch it again.") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]
    if repeated:
        raise ValueError(f"{enumerate_some(repeated)} comes twice")
    return dict(pairs)


def _require_known_version(value: object, where: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise DataError(
            f"{where}: format_version is {version}, and this ccnet-data reads up to {FORMAT_VERSION}; update it."
        )


def _read_object(value: object, readers: Mapping[str, Reader], where: str) -> dict[str, Any]:
    """Return the values of the JSON object `value`, which must have exactly the keys of `readers`."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be an object with {', '.join(readers)}, got {type(value).__name__}.")
    unknown = next((key for key in value if key not in readers), None)
    if unknown is not None:
        raise DataError(f"{where}: unknown key {unknown!r}.{nearest(unknown, readers)}")
    missing = [key for key in readers if key not in value]
    if missing:
        raise DataError(f"{where}: {', '.join(missing)} is missing.")
    return {key: _read(value[key], reader, f"{where}: {key}") for key, reader in readers.items()}


def _read(value: object, reader: Reader, where: str) -> Any:
    try:
        return reader(value)
    except DataError as fault:
        raise DataError(f"{where} {fault}") from None


def _read_splits(value: object) -> dict[str, tuple[Shard, ...]]:
    if not isinstance(value, dict) or not value:
        raise DataError(f"must be an object with the shards of each split, got {value!r}.")
    for split in value:
        if not is_split_name(split):
            raise DataError(f"must have names of letters, digits, _ and inner dots, got {split!r}.")
    return {split: _read_shards(shards, repr(split)) for split, shards in value.items()}


def _read_shards(value: object, where: str) -> tuple[Shard, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} must be a list of shards, got {value!r}.")
    return tuple(read_shard(shard, f"{where}, shard {place}") for place, shard in enumerate(value))


def _read_file_name(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(rf"{_SPLIT}-[0-9]{{5,}}-of-[0-9]{{5,}}\.parquet", value) is None:
        raise DataError(f"must be a name such as train-00000-of-00012.parquet, without folders, got {value!r}.")
    return value


def _read_digest(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[0-9a-f]{64}", value) is None:
        raise DataError(f"must be 64 hexadecimal digits, got {value!r}.")
    return value


def _read_quality(value: object) -> int | None:
    return None if value is None else int(whole_number(*QUALITIES)(value))


_MANIFEST: dict[str, Reader] = {
    "format_version": whole_number(1, FORMAT_VERSION),
    "dataset": text,
    "encoding": one_of(*ENCODINGS),
    "quality": _read_quality,
    "task": one_of(*TASKS),
    "classes": read_classes,
    "palette": several(several(whole_number(0, 255), count=3)),
    "ignore_index": whole_number(IGNORE_INDEX, IGNORE_INDEX),
    "flip_pairs": several(several(whole_number(0, IGNORE_INDEX - 1), count=2)),
    "splits": _read_splits,
}
_SHARD: dict[str, Reader] = {
    "file": _read_file_name,
    "rows": whole_number(1, _LARGEST),
    "bytes": whole_number(1, _LARGEST),
    "sha256": _read_digest,
}


def _require_consistent(manifest: Manifest, where: str) -> None:
    count = len(manifest.classes)
    if len(manifest.palette) != count:
        raise DataError(f"{where}: palette has {len(manifest.palette)} colours for {count} classes.")
    if any(member >= count for pair in manifest.flip_pairs for member in pair):
        raise DataError(f"{where}: flip_pairs must name classes 0 to {count - 1}.")
    if (manifest.quality is None) == (manifest.encoding == JPEG):
        raise DataError(f"{where}: quality must be a number for jpeg and null for the others.")
    files = Counter(shard.file for shards in manifest.splits.values() for shard in shards)
    repeated = [file for file, times in files.items() if times > 1]
    if repeated:
        raise DataError(f"{where}: splits name {enumerate_some(repeated)} more than once.")
