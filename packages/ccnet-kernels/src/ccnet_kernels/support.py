"""Which calls the kernels serve: one predicate for the plug-in, for `ccnet doctor` and for a direct call."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ccnet_kernels.errors import KernelError

# Half precision needs the matrix instructions and asynchronous copies of 8.0.
CAPABILITIES = {torch.float32: (7, 5), torch.float16: (8, 0), torch.bfloat16: (8, 0)}
SCALES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
AXES = {2: "H, W", 3: "T, H, W"}
LARGEST_TENSOR = 2**31 - 1


class CallSpec(Protocol):
    """What is asked of a call; core's AttentionSpec and `OwnSpec` both look like this.

    `shape` is (B, D, C, H, W), with a T axis before H where `rank` is 3.
    """

    @property
    def device_type(self) -> str: ...  # noqa: D102
    @property
    def capability(self) -> tuple[int, int] | None: ...  # noqa: D102
    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102
    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def needs_gradient(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class OwnSpec:
    """A call, for use without core."""

    device_type: str
    capability: tuple[int, int] | None
    dtype: torch.dtype
    rank: int
    shape: tuple[int, ...]
    needs_gradient: bool


_capabilities: dict[int | None, tuple[int, int]] = {}


def capability_of(index: int | None) -> tuple[int, int]:
    """Return the compute capability of a CUDA device, which torch takes microseconds to look up."""
    if index not in _capabilities:
        _capabilities[index] = torch.cuda.get_device_capability(index)
    return _capabilities[index]


# A traced call must not ask the driver; the answer is the same for the life of the process. This is all that
# torch.compiler.assume_constant_result does, which would import the compiler here.
capability_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


def why_unsupported(spec: CallSpec) -> str | None:
    """Return None if the kernels serve the call, else one sentence that says what is missing."""
    return why_not(spec.device_type, spec.capability, spec.dtype, spec.shape)


def why_not(
    device_type: str, capability: tuple[int, int] | None, dtype: torch.dtype, shape: tuple[int, ...]
) -> str | None:
    """Return what `why_unsupported` returns for a spec of these parts; `shape` is (B, D, C, H, W)."""
    if device_type != "cuda":
        return f"needs a CUDA device; this tensor is on {device_type}"
    if torch.version.hip:
        return "needs NVIDIA's CUDA; this torch is built for ROCm"
    name = str(dtype).removeprefix("torch.")
    needed = CAPABILITIES.get(dtype)
    if needed is None:
        return f"computes in float32, float16 and bfloat16; these tensors are {name}"
    if capability is None or capability < needed:
        has = "unknown" if capability is None else "{}.{}".format(*capability)
        return "needs compute capability {}.{} or newer for {}; this GPU is {}".format(*needed, name, has)
    batch, query_channels, value_channels, *extent = shape
    if len(extent) not in AXES:
        return f"takes (B, channels, H, W) or (B, channels, T, H, W); these tensors have {len(extent) + 2} axes"
    if min(shape) < 1:
        return f"needs at least one element along every axis; (B, D, C, {AXES[len(extent)]}) is {shape}"
    # This bounds the number of blocks of a launch too: a block has at least one element of its own.
    numel = batch * max(query_channels, value_channels) * math.prod(extent)
    if numel > LARGEST_TENSOR:
        return f"takes tensors of up to {LARGEST_TENSOR} elements; the largest here has {numel}"
    return None


def check_arguments(query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None) -> None:
    """Raise KernelError, which names the argument, unless the kernels serve this call."""
    shape, dtype, device = query.shape, query.dtype, query.device
    if len(shape) not in (4, 5):
        raise KernelError(f"query has shape {tuple(shape)}; expected (B, D, H, W) or (B, D, T, H, W)")
    batch, channels, *extent = shape
    if key.shape != shape:
        raise KernelError(f"key has shape {tuple(key.shape)}; expected that of query, {tuple(shape)}")
    values, value_channels, *value_extent = value.shape if value.ndim > 1 else (0, 0)
    if values != batch or value_extent != extent:
        expected = ", ".join(["C", *map(str, extent)])
        raise KernelError(f"value has shape {tuple(value.shape)}; expected ({batch}, {expected})")
    if scale is not None and scale.shape not in ((), (1,)):
        raise KernelError(f"scale has shape {tuple(scale.shape)}; expected () or (1,)")
    if residual is not None and residual.shape != value.shape:
        raise KernelError(f"residual has shape {tuple(residual.shape)}; expected that of value, {tuple(value.shape)}")
    own, wide = (dtype,), (dtype, torch.float32)
    for name, tensor, kinds in (
        ("key", key, own),
        ("value", value, own),
        ("residual", residual, wide),
        ("scale", scale, SCALES),
    ):
        if tensor is not None and (tensor.dtype not in kinds or tensor.device != device):
            raise KernelError(f"{name} is {tensor.dtype} on {tensor.device}; query is {dtype} on {device}")
    capability = capability_of(device.index) if device.type == "cuda" else None
    reason = why_not(device.type, capability, dtype, (batch, channels, value_channels, *extent))
    if reason is not None:
        raise KernelError(reason)
