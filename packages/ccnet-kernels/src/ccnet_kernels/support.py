"""Which calls the kernels serve: one predicate for the plug-in, for `ccnet doctor` and for a direct call."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch

MINIMUM_CAPABILITY = (7, 5)
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
    """A call as `spec_of` describes it, for use without core."""

    device_type: str
    capability: tuple[int, int] | None
    dtype: torch.dtype
    rank: int
    shape: tuple[int, ...]
    needs_gradient: bool


def capability_of(index: int | None) -> tuple[int, int]:
    """Return the compute capability of a CUDA device."""
    return torch.cuda.get_device_capability(index)


# A traced call must not ask the driver; the answer is the same for the life of the process. This is all that
# torch.compiler.assume_constant_result does, which would import the compiler here.
capability_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


def spec_of(query: torch.Tensor, value: torch.Tensor, *others: torch.Tensor | None) -> OwnSpec:
    """Describe a call with `query` (B, D, H, W) and `value` (B, C, H, W); `others` may need a gradient too."""
    tensors = [tensor for tensor in (query, value, *others) if tensor is not None]
    device = query.device
    return OwnSpec(
        device_type=device.type,
        capability=capability_of(device.index) if device.type == "cuda" else None,
        dtype=query.dtype,
        rank=query.ndim - 2,
        shape=(query.shape[0], query.shape[1], value.shape[1], *query.shape[2:]),
        needs_gradient=torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors),
    )


def why_unsupported(spec: CallSpec) -> str | None:
    """Return None if the kernels serve the call, else one sentence that says what is missing."""
    if spec.device_type != "cuda":
        return f"needs a CUDA device; this tensor is on {spec.device_type}"
    if spec.capability is None or spec.capability < MINIMUM_CAPABILITY:
        has = "unknown" if spec.capability is None else "{}.{}".format(*spec.capability)
        return "needs compute capability {}.{} or newer; this device's is {}".format(*MINIMUM_CAPABILITY, has)
    if spec.dtype != torch.float32:
        return f"computes in float32; these tensors are {str(spec.dtype).removeprefix('torch.')}"
    if spec.rank != 2:
        return f"takes maps (B, channels, H, W); these tensors have {spec.rank} axes after the channels"
    return _why_size_unsupported(spec.shape)


def _why_size_unsupported(shape: tuple[int, ...]) -> str | None:
    batch, query_channels, value_channels, *extent = shape
    if min(shape) < 1:
        return f"needs at least one element along every axis; (B, D, C, H, W) is {shape}"
    numel = batch * max(query_channels, value_channels) * math.prod(extent)
    if numel > LARGEST_TENSOR:
        return f"takes tensors of up to {LARGEST_TENSOR} elements; the largest here has {numel}"
    return None
