"""Files of torch.save: what they hold, without running their pickles, and where the numbers of each tensor lie.

Two containers are read, as torch/serialization.py writes them: a zip archive with `data.pkl` and an entry for each
storage, and, until torch 1.6, five pickles in a row with the storages behind them. The file is mapped into memory, and
the numbers of a tensor are read when asked for.
"""

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ccnet_core.checks import is_whole
from ccnet_core.errors import WeightsError
from ccnet_core.unpickle import Inert, read_pickle

DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LARGEST_RANK = 8

DAMAGE = (zipfile.BadZipFile, struct.error, RuntimeError, ArithmeticError, ValueError, TypeError, LookupError, OSError)
"""What zipfile, struct and a look-up raise for bytes that are not what they should be."""


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor that still lies in its file; `read` gives it, on the CPU."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class TorchFile:
    """The object that was saved, with an :class:`Inert` for all that is not plain data.

    `places` has, for each storage, where it begins in `content`, and its length in bytes; `checksums` its CRC-32, in a
    zip archive.
    """

    saved: Any
    content: mmap.mmap
    places: Mapping[str, tuple[int, int]]
    checksums: Mapping[str, int]
    _checked: set[str] = field(default_factory=set)

    def tensor(self, saved: object) -> StoredTensor | None:
        """Return the tensor that `saved`, a part of what was saved, stands for; None if it is something else.

        Raises WeightsError if the file does not hold as many numbers as the shape needs; `read` of the result raises it
        if they do not fit their checksum.
        """
        match saved:
            case Inert(
                name="torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                arguments=(tensor, *_),
            ):
                saved = tensor
        match saved:
            case Inert(
                name="torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
                arguments=(Inert(name="persistent identifier", arguments=storage), offset, shape, stride, *_),
            ):
                key, dtype = _key_and_dtype(storage)
            case _:
                return None
        start, length = self.places.get(key, (0, 0))
        count = length // dtype.itemsize
        if not _fits(count, offset, shape, stride):
            raise WeightsError("has a tensor whose shape does not fit the numbers that the file holds")

        def read() -> Tensor:
            self._require_checksum(key)
            numbers = torch.frombuffer(self.content, dtype=dtype, count=count, offset=start)
            return numbers.as_strided(shape, stride, offset)

        return StoredTensor(shape=shape, dtype=dtype, read=read)

    def _require_checksum(self, key: str) -> None:
        if key in self._checked or key not in self.checksums:
            return
        start, length = self.places[key]
        if zlib.crc32(memoryview(self.content)[start : start + length]) != self.checksums[key]:
            raise WeightsError(f"is damaged: the numbers of its storage {key!r} do not fit their checksum")
        self._checked.add(key)


def open_torch_file(path: Path) -> TorchFile:
    """Read a file of torch.save. Raises WeightsError, whose message goes behind the file's name, if it is damaged."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants memory that may be written
    try:
        return _read_zip(path, content) if content[:2] == b"PK" else _read_legacy(content)
    except WeightsError:
        raise
    except DAMAGE as error:
        raise WeightsError("is damaged or cut short") from error


def _read_zip(path: Path, content: mmap.mmap) -> TorchFile:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError("is a zip archive, but not one of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise WeightsError("is a TorchScript program. Save the state_dict() of the network")
    places = {name: _place(entry, content) for name, entry in entries.items()}
    _require_little_endian(_bytes(content, places.get(f"{root}byteorder", (0, 0))) in (b"", b"little"))
    saved, _ = read_pickle(io.BytesIO(_bytes(content, places[pickles[0]])))
    storages = f"{root}data/"
    keys = {name: name.removeprefix(storages) for name in places if name.startswith(storages)}
    return TorchFile(
        saved=saved,
        content=content,
        places={key: places[name] for name, key in keys.items()},
        checksums={key: entries[name].CRC for name, key in keys.items()},
    )


def _place(entry: zipfile.ZipInfo, content: mmap.mmap) -> tuple[int, int]:
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise WeightsError("is a compressed archive; torch.save does not compress")
    # The local header: signature, 22 bytes that the directory has too, and the lengths of the name and of the padding.
    signature, name_length, padding = struct.unpack_from("<4s22xHH", content, entry.header_offset)
    start = entry.header_offset + 30 + name_length + padding
    if signature != b"PK\x03\x04" or start + entry.file_size > len(content):
        raise ValueError
    return start, entry.file_size


def _bytes(content: mmap.mmap, place: tuple[int, int]) -> bytes:
    start, length = place
    return content[start : start + length]


def _read_legacy(content: mmap.mmap) -> TorchFile:
    magic, _ = read_pickle(content)
    if magic != LEGACY_MAGIC:
        raise WeightsError("is a pickle, but not one of torch.save")
    read_pickle(content)  # the version, 1001 since torch 0.1
    machine, _ = read_pickle(content)
    _require_little_endian(machine["little_endian"])
    saved, storages = read_pickle(content)
    keys, _ = read_pickle(content)
    dtypes = dict(map(_key_and_dtype, storages))
    places, position = {}, content.tell()
    for key in keys:
        if not isinstance(key, str):
            raise TypeError
        (count,) = struct.unpack_from("<q", content, position)
        start, length = position + 8, count * dtypes[key].itemsize
        position = start + length
        if count < 0 or position > len(content):
            raise ValueError
        places[key] = start, length
    return TorchFile(saved=saved, content=content, places=places, checksums={})


def _require_little_endian(little: object) -> None:
    if little is not True:
        raise WeightsError("was written on a big-endian machine, whose numbers are not read here")


def _key_and_dtype(storage: object) -> tuple[str, torch.dtype]:
    match storage:
        case ("storage", Inert(name=name), str(key), _, _) | ("storage", Inert(name=name), str(key), _, _, None):
            if name in DTYPES:
                return key, DTYPES[name]
            raise WeightsError(f"has numbers of the kind {name[:80]!r}, which no network here has")
        case ("module", Inert(name=name), *_):
            raise WeightsError(f"holds an object of {name[:80]!r}, which is not run here. Save its state_dict()")
    raise WeightsError("has numbers that torch.save did not put there")


def _fits(count: int, offset: Any, shape: Any, stride: Any) -> bool:
    """Return whether a tensor of `shape` lies within `count` numbers, and has no more than these itself."""
    if not (isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) == len(stride) <= LARGEST_RANK):
        return False
    if not all(is_whole(size) and 0 <= size <= count for size in (offset, *shape, *stride)):
        return False
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    return 0 < prod(shape) <= count and last < count
