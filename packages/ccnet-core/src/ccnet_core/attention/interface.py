"""The contract between core and an attention backend (entry-point group `ccnet.attention_backends`).

A backend computes one whole step of criss-cross attention. Core never looks inside, so a fused kernel is free in its
memory layout. A plug-in does not import this module: it only has to look like :class:`AttentionBackend`.

Shape letters: B batch, D query and key channels, C value channels, H height, W width.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

API_VERSION = 1
"""The version core speaks. A backend with another `api_version` is left out, with a warning."""

ENTRY_POINT_GROUP = "ccnet.attention_backends"


@dataclass(frozen=True, kw_only=True)
class AttentionSpec:
    """What a backend needs to know to say whether it can serve a call; made without any tensor.

    `shape` is (B, D, C, H, W) for pictures (`rank` 2) and (B, D, C, T, H, W) for clips (`rank` 3).
    `capability` is the CUDA compute capability, None on other devices.
    """

    device_type: str
    capability: tuple[int, int] | None
    dtype: torch.dtype
    rank: int
    shape: tuple[int, ...]
    needs_gradient: bool


class AttentionBackend(Protocol):
    """One way to compute criss-cross attention.

    `name` is what a user types to ask for it, `version` its own version, `api_version` the contract it was written
    for. Of the backends that support and prefer a call, the one with the highest `priority` serves it.
    """

    name: str
    version: str
    api_version: int
    priority: int

    def why_unsupported(self, spec: AttentionSpec) -> str | None:
        """Return None if the call can be served, else one sentence that a user understands."""
        ...

    def prefers(self, spec: AttentionSpec) -> bool:
        """Return whether this backend is a good choice for a call it supports. Asked only for automatic choice."""
        ...

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend along row and column, the position itself once, with one joint softmax.

        `query` and `key` are (B, D, H, W), `value` and the result (B, C, H, W), all of one floating dtype. `scale` has
        shape (1,) or (); `residual` has the result's shape. The result is `scale * attended + residual`, where a
        missing `scale` counts as 1 and a missing `residual` as 0. Differentiable in every argument.
        """
        ...


def capability_of(index: int | None) -> tuple[int, int]:
    """Return the compute capability of a CUDA device."""
    return torch.cuda.get_device_capability(index)


# A traced call must not ask the driver; the answer is the same for the life of the process. This is all that
# torch.compiler.assume_constant_result does, which would import the compiler with core: twice the time of the import.
capability_of._dynamo_marked_constant = True  # type: ignore[attr-defined]


def spec_of(query: torch.Tensor, value: torch.Tensor, *others: torch.Tensor | None) -> AttentionSpec:
    """Describe a call with `query` (B, D, H, W) and `value` (B, C, H, W), or with a T axis before H.

    `others` are the call's further tensors, asked only whether they need a gradient.
    """
    tensors = [tensor for tensor in (query, value, *others) if tensor is not None]
    device = query.device
    return AttentionSpec(
        device_type=device.type,
        capability=capability_of(device.index) if device.type == "cuda" else None,
        dtype=query.dtype,
        rank=query.ndim - 2,
        shape=(query.shape[0], query.shape[1], value.shape[1], *query.shape[2:]),
        needs_gradient=torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors),
    )


def describe(spec: AttentionSpec) -> str:
    """Return `spec` in one short line for messages."""
    extent = "x".join(str(size) for size in spec.shape)
    return f"{spec.device_type} {str(spec.dtype).removeprefix('torch.')} {extent}"
