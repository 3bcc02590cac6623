"""Criss-cross attention as torch operators: the public function and its gradient.

Letters: B batch, D query and key channels, C value channels, T frames, H height, W width.

torch.compile traces around the operators. They are defined through `torch.library.Library`, with an autograd function
of their own, because `custom_op` with `register_autograd` costs twice the host time: benchmarks/NOTES.md.
"""
# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ccnet_kernels.cuda import passes
from ccnet_kernels.cuda.maps import room_for
from ccnet_kernels.errors import KernelError
from ccnet_kernels.support import check_arguments

INPUTS = "Tensor query, Tensor key, Tensor value, Tensor? scale"
FORWARD = f"attend({INPUTS}, Tensor? residual) -> Tensor"
KEEPING = f"attend_and_keep({INPUTS}, Tensor? residual) -> (Tensor, Tensor, Tensor)"
BACKWARD = (
    f"attend_backward(Tensor gradient, {INPUTS}, Tensor attended, Tensor log_sums) -> (" + "Tensor, " * 3 + "Tensor)"
)


def criss_cross_attention(
    query: Tensor, key: Tensor, value: Tensor, *, scale: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Attend along row and column, the pixel itself once, with one joint softmax and no 1/sqrt(D).

    Shapes: query and key (B, D, H, W), value and residual (B, C, H, W), scale (1,) or (). A clip has T before H, and
    attends along time too. The result is `scale * attended + residual`; a missing scale counts as 1, a missing
    residual as 0.
    Dtypes: query, key and value all float32, float16 or bfloat16, on one CUDA device; residual of that dtype or
    float32, and the result like residual; scale of any floating dtype. inf and NaN propagate as in torch.
    Memory: the result is laid out as `torch.empty_like(value)`. Half precision is fastest in channels_last with
    multiples of 8 channels, float32 where it is contiguous; other maps are copied.
    Differentiable once in every argument; two runs give the same bits.
    Raises KernelError, a ValueError, for anything else, and torch.OutOfMemoryError.
    """
    check_arguments(query, key, value, scale, residual)
    return attend(query, key, value, scale=scale, residual=residual)


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Do what `criss_cross_attention` does, without its checks, on any device that `launch.run` reaches."""
    if residual is None or residual.dtype == value.dtype:
        return attend_forward(query, key, value, scale, residual)
    # float32 around an autocast step: added in float32.
    attended = attend_forward(query, key, value, None, None)
    return residual + (attended if scale is None else scale * attended)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            output, attended, log_sums = attend_and_keep(*inputs)
        *saved, _residual = inputs
        ctx.save_for_backward(*saved, attended if attended.numel() else output, log_sums)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients = *attend_backward(gradient, *ctx.saved_tensors), gradient
        return tuple(found if needed else None for found, needed in zip(gradients, ctx.needs_input_grad, strict=True))


class _AttendBackward(torch.autograd.Function):
    """The gradients, where somebody asks for their graph."""

    @staticmethod
    def forward(_ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return attend_backward(*inputs)

    @staticmethod
    def backward(_ctx: Any, *_: Tensor) -> None:
        raise KernelError("criss_cross_attention has no second derivative; the backend 'torch' of ccnet-core has one")


def _differentiable(operator: Callable[..., Any], function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Return what is called instead of the operator where autograd may record."""

    def call(*inputs: Tensor | None) -> Any:
        if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
            return function.apply(*inputs)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*inputs)

    return call


def _fake_keep(
    _query: Tensor, _key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    attended = value.new_empty(0) if scale is None and residual is None else room_for(value)
    return torch.empty_like(value), attended, passes.room_for_log_sums(value)


def _fake_backward(
    _gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, *_: Tensor
) -> tuple[Tensor, ...]:
    of_scale = value.new_empty(0) if scale is None else torch.empty_like(scale)
    return *(torch.empty_like(maps) for maps in (query, key, value)), of_scale


_library = torch.library.Library("ccnet_kernels", "DEF")


def _register(schema: str, compute: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    name = _library.define(schema, tags=torch.Tag.pt2_compliant_tag)
    _library.impl(name, compute, "CompositeExplicitAutograd")
    torch.library.register_fake(f"ccnet_kernels::{name}", fake, lib=_library)
    return getattr(torch.ops.ccnet_kernels, name).default


attend_forward: Callable[..., Tensor] = _register(
    FORWARD, passes.forward, lambda _query, _key, value, *_: torch.empty_like(value)
)
attend_and_keep: Callable[..., tuple[Tensor, Tensor, Tensor]] = _register(KEEPING, passes.forward_and_keep, _fake_keep)
attend_backward: Callable[..., tuple[Tensor, ...]] = _register(BACKWARD, passes.backward, _fake_backward)
_library.impl("attend", _differentiable(attend_forward, _Attend), "Autograd")
_library.impl("attend_backward", _differentiable(attend_backward, _AttendBackward), "Autograd")
