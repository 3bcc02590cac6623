"""The tensors of safetensors files into a network, every one of them accounted for."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ccnet_core.errors import WeightsError

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Dtypes that may stand for one another in a weights file."""


def load_tensors(module: nn.Module, path: str | Path, *, leave_out: Sequence[str] = ()) -> None:
    """Copy the tensors of a safetensors file into `module`, which must have exactly these.

    Names that start with one of `leave_out` are neither read nor required. Raises WeightsError that names the file
    and the first tensors that are missing, surplus, of another shape or kind of number, or have NaN or infinite
    numbers; `module` is then unchanged.
    """
    expected = {name: t for name, t in module.state_dict().items() if not name.startswith(tuple(leave_out))}
    found = _read_tensors(Path(path), tuple(leave_out))
    _refuse_difference(str(path), "missing", [name for name in expected if name not in found])
    _refuse_difference(str(path), "not part of this network", [name for name in found if name not in expected])
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if found[name].shape != tensor.shape
    ]
    _refuse_difference(str(path), "of another shape", misshapen)
    wrong = [
        f"{name} is {found[name].dtype}" for name, tensor in expected.items() if not _same_kind(found[name], tensor)
    ]
    _refuse_difference(str(path), "of another kind of number", wrong)
    useless = [name for name, tensor in found.items() if not tensor.isfinite().all()]
    _refuse_difference(str(path), "with NaN or infinite numbers", useless)
    module.load_state_dict(found, strict=not leave_out)


def _read_tensors(path: Path, leave_out: tuple[str, ...]) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path}: missing, or not a file.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if not name.startswith(leave_out)}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if not os.access(path, os.R_OK):
            raise WeightsError(f"{path}: may not be read. Check its permissions.") from error
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error}). Fetch it again.") from error


def _same_kind(found: Tensor, expected: Tensor) -> bool:
    return found.dtype == expected.dtype or (found.dtype in FLOATING and expected.dtype in FLOATING)


def _refuse_difference(path: str, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise WeightsError(f"{path}: {len(names)} tensors {what}: {', '.join(names[:3])}{more}.")
