"""The tensors of open safetensors files into a network, every one of them accounted for."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ccnet_core.checkpoint import SAFETENSORS_DTYPES
from ccnet_core.checks import require
from ccnet_core.errors import WeightsError

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Dtypes that may stand for one another in a weights file."""

LARGEST_HEADER = 2**22
"""Bytes. One tensor takes about a hundred."""

LONGEST_NAME = 200
"""Of a tensor or shape in a message."""


def require_floating(dtype: object) -> None:
    """Raise ConfigError unless `dtype` is one of `FLOATING`."""
    require(dtype in FLOATING, f"dtype must be one of {', '.join(map(str, FLOATING))}, got {dtype!r}")


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor that still lies in `file`, from byte `start` on."""

    file: FileIO
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self) -> Tensor:
        """Return the tensor in memory of its own. Raises WeightsError if the file was cut short meanwhile.

        The file is read, not mapped into memory: a mapped file that is cut short would end the process, and its pages
        would count as memory of the process beside the copy.
        """
        tensor = torch.empty(self.shape, dtype=self.dtype)
        rest = tensor.view(-1).view(torch.uint8).numpy().data
        try:
            self.file.seek(self.start)
            while rest:
                count = self.file.readinto(rest)
                if not count:
                    raise OSError("it was cut short meanwhile")
                rest = rest[count:]
        except OSError as error:
            raise WeightsError(f"{self.file.name}: cannot be read ({error}). Fetch it again.") from error
        return tensor


def read_header(file: FileIO) -> dict[str, StoredTensor]:
    """Return what a safetensors file holds, in the order of the file; no tensor is read.

    Raises WeightsError, which names the file, if it is damaged: its header, its length, or the place of a tensor. A
    changed number inside a tensor goes unnoticed, as safetensors has no checksum.
    """
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > LARGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        with safe_open(file.name, framework="np"):  # which checks all that follows
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        stored = [_stored(file, name, entry, 8 + length) for name, entry in header.items()]
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{file.name}: damaged or not a safetensors file ({error}). Fetch it again.") from error
    return dict(sorted(stored, key=lambda item: item[1].start))


def _stored(file: FileIO, name: str, entry: Mapping[str, Any], start: int) -> tuple[str, StoredTensor]:
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        raise WeightsError(f"{file.name}: {name} has numbers of the kind {entry['dtype']}, which no network here has.")
    begin, _ = entry["data_offsets"]
    shape, dtype = tuple(entry["shape"]), SAFETENSORS_DTYPES[entry["dtype"]]
    return name, StoredTensor(file=file, start=start + begin, shape=shape, dtype=dtype)


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Modules that are built inside have tensors without memory (on the meta device) and without initial values."""
    with torch.device("meta"), _NoInitialValues():
        yield


class _NoInitialValues(TorchFunctionMode):
    """Leaves out the filling of tensors.

    On the meta device it changes nothing, but the first `normal_` in a process takes 3 s, in which torch imports its
    decompositions, and the others more than all the rest of building a network.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_):
            return args[0]
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_tensors(
    module: nn.Module,
    stored: Mapping[str, StoredTensor],
    where: str | Path,
    *,
    leave_out: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> None:
    """Read the tensors of `module`, which must have exactly these, and may have been built in :func:`shapes_only`.

    Names that start with one of `leave_out` are neither read nor required. Floating tensors become `dtype`. `where` is
    the file to name when a tensor is missing. Raises WeightsError that names the file and the first tensors that are
    missing, surplus, or of another shape or kind of number, before anything is read, and those that have NaN or
    infinite numbers or that `dtype` cannot hold; `module` is then unchanged.
    """
    expected = {name: t for name, t in module.state_dict().items() if not name.startswith(tuple(leave_out))}
    stored = {name: t for name, t in stored.items() if not name.startswith(tuple(leave_out))}
    _refuse_differences(expected, stored, where)
    values: dict[str, Tensor] = {}
    useless: list[tuple[object, str]] = []
    too_large: list[tuple[object, str]] = []
    for name, tensor in stored.items():
        value = tensor.read()
        converted = value.to(dtype) if value.dtype in FLOATING else value
        if value.dtype in FLOATING and not _is_finite(converted):
            (too_large if _is_finite(value) else useless).append((tensor.file.name, name))
        values[name] = converted.to(device)
    _refuse("with NaN or infinite numbers", useless)
    _refuse(f"with numbers too large for {dtype}", too_large)
    module.load_state_dict(values, strict=not leave_out, assign=True)


def _is_finite(tensor: Tensor) -> bool:
    """Tell whether all numbers are finite. If their sum is, they are.

    numpy adds in one thread. torch's threads wait for one another after every tensor: 50 ms for 71 million numbers on a
    quiet machine became 800 ms beside other work.
    """
    numbers = tensor.float() if tensor.dtype.itemsize < 4 else tensor
    with np.errstate(all="ignore"):
        total = numbers.numpy().sum()
    return bool(np.isfinite(total) or tensor.isfinite().all())


def _refuse_differences(expected: Mapping[str, Tensor], stored: Mapping[str, StoredTensor], where: object) -> None:
    _refuse("missing", [(where, name) for name in expected if name not in stored])
    surplus = [(tensor.file.name, name) for name, tensor in stored.items() if name not in expected]
    _refuse("not part of this network", surplus)
    pairs = [(name, tensor, expected[name]) for name, tensor in stored.items()]
    misshapen = [
        (found.file.name, f"{name} is {found.shape}, expected {tuple(needed.shape)}")
        for name, found, needed in pairs
        if found.shape != needed.shape
    ]
    _refuse("of another shape", misshapen)
    wrong = [
        (found.file.name, f"{name} is {found.dtype}") for name, found, needed in pairs if not _alike(found, needed)
    ]
    _refuse("of another kind of number", wrong)


def _alike(found: StoredTensor, needed: Tensor) -> bool:
    return found.dtype == needed.dtype or (found.dtype in FLOATING and needed.dtype in FLOATING)


def _refuse(what: str, problems: Sequence[tuple[object, str]]) -> None:
    """Raise WeightsError for pairs of file and tensor, if there are any: those of the first file."""
    if problems:
        file = problems[0][0]
        names = [name[:LONGEST_NAME] for where, name in problems if where == file]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise WeightsError(f"{file}: {len(names)} tensors {what}: {', '.join(names[:3])}{more}.")
