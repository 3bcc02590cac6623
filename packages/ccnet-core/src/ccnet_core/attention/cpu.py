"""Criss-cross attention for the CPU: matrix products along the lines of channels-last maps, with their own backward.

A row of a map is a matrix (W, C), a column a matrix (H, C) with a longer stride, so no map is ever copied or
transposed; the weights of the axes are never concatenated, they only share the maximum and the sum of their softmax.
`benchmarks/attention.py` compares this with the einsum form.

Shape letters: B batch, S the axes of position ((H, W), or (T, H, W) for clips), D query and key channels, C value
channels, L length of a line, N lines that one matrix product takes together, M such groups.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ccnet_core.attention import formula

TEMPORARY = 2**20
"""Numbers of a product that waits to be added: 4 MB, small beside a map and in reach of the cache."""


def serves(*tensors: Tensor | None) -> bool:
    """Return whether :func:`attend` can take these tensors.

    They are on the CPU, all float32 or all float64, none empty, and nobody traces, exports, casts or transforms
    (`torch.func`). Half precision goes through torch's softmax, which adds up in float32.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    if torch.jit.is_tracing() or torch._C._are_functorch_transforms_active():  # type: ignore[attr-defined, no-untyped-call]
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    kinds = {(tensor.device.type, tensor.dtype) for tensor in given}
    return kinds in ({("cpu", torch.float32)}, {("cpu", torch.float64)}) and all(tensor.numel() for tensor in given)


def attend(query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None) -> Tensor:
    """Return `scale * attended + residual`, in the memory format of `residual`, or channels last without one.

    `query` and `key` are (B, D, *S), `value`, `residual` and the result (B, C, *S), `scale` (1,) or (). Kept for the
    backward pass are query, key, value, and the weights: B * H * W * (H + W) numbers of a map. A derivative of the
    gradients is taken through the plain formula, at its cost.
    """
    query, key, value = (tensor.movedim(1, -1).contiguous() for tensor in (query, key, value))
    residual = None if residual is None else residual.movedim(1, -1)
    inputs = (query, key, value, scale, residual)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        output = cast(Tensor, _CrissCross.apply(*inputs))  # type: ignore[no-untyped-call]
    else:
        output, _ = _forward(*inputs)
    return output.movedim(-1, 1)


class _CrissCross(torch.autograd.Function):
    """Query, key and value are (B, *S, channels) and contiguous."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None
    ) -> Tensor:
        output, weights = _forward(query, key, value, scale, residual)
        ctx.save_for_backward(query, key, value, scale, *weights)
        return output

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, scale, *weights = ctx.saved_tensors
        of_residual = upstream if ctx.needs_input_grad[4] else None
        if torch.is_grad_enabled():  # only where somebody asked for the graph of the gradients
            return *_differentiable_gradients(upstream, query, key, value, scale), of_residual
        return *_gradients(upstream.contiguous(), query, key, value, scale, weights), of_residual


def _forward(
    query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    weights = _weights(query, key)
    return _scale_and_add(_weighted_sum(weights, value), scale, residual), weights


def _weights(query: Tensor, key: Tensor) -> list[Tensor]:
    """Return the weights along each axis, (M, N, L, L); all together sum to 1 for each position."""
    axes = range(1, query.ndim - 1)
    weights = [_products(_lines(query, axis), _lines(key, axis)) for axis in axes]
    for energy in weights[:-1]:  # the position itself counts once, along the last axis
        energy.diagonal(dim1=-2, dim2=-1).fill_(float("-inf"))
    largest = _of_positions(torch.maximum, [energy.amax(-1) for energy in weights], query)
    for axis, energy in zip(axes, weights, strict=True):
        energy.sub_(_lines(largest, axis)).exp_()
    total = _of_positions(torch.add, [power.sum(-1) for power in weights], query)
    for axis, power in zip(axes, weights, strict=True):
        power.div_(_lines(total, axis))
    return weights


def _scale_and_add(output: Tensor, scale: Tensor | None, residual: Tensor | None) -> Tensor:
    """Return `scale * output + residual`, in place unless the residual has another memory format."""
    target = output if residual is None or residual.stride() == output.stride() else None
    if scale is None:
        return output if residual is None else torch.add(residual, output, out=target)
    return output.mul_(scale) if residual is None else torch.addcmul(residual, output, scale, out=target)


def _gradients(
    upstream: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, weights: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    axes = range(1, query.ndim - 1)
    of_weights = [_products(_lines(upstream, axis), _lines(value, axis)) for axis in axes]
    # The product of upstream and attended values at each position, without the attended values.
    dots = [torch.linalg.vecdot(grad, along) for grad, along in zip(of_weights, weights, strict=True)]
    dot = _of_positions(torch.add, dots, query)
    for axis, along, energy in zip(axes, weights, of_weights, strict=True):
        energy.sub_(_lines(dot, axis)).mul_(along)
    of_query = _weighted_sum(of_weights, key)
    of_key = _weighted_sum([energy.mT for energy in of_weights], query)
    of_value = _weighted_sum([along.mT for along in weights], upstream)
    if scale is None:
        return of_query, of_key, of_value, None
    return of_query.mul_(scale), of_key.mul_(scale), of_value.mul_(scale), dot.sum().view_as(scale)


def _differentiable_gradients(
    upstream: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None
) -> tuple[Tensor | None, ...]:
    attended = formula.attend(*(tensor.movedim(-1, 1) for tensor in (query, key, value))).movedim(1, -1)
    output = attended if scale is None else scale * attended
    inputs = [query, key, value, scale]
    wanted = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, upstream, create_graph=True) if wanted else ())
    return tuple(next(found) if tensor is not None and tensor.requires_grad else None for tensor in inputs)


def _lines(tensor: Tensor, axis: int) -> Tensor:
    """View (B, *S, C) as its lines along `axis`: (M, N, L, C)."""
    *axes, channels = tensor.shape
    groups, together = math.prod(axes[:axis]), math.prod(axes[axis + 1 :])
    return tensor.view(groups, axes[axis], together, channels).transpose(1, 2)


def _of_positions(combine: Callable[..., Tensor], parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Combine what the lines of each axis say of their positions, (M, N, L), to one map (B, *S, 1)."""
    shape = (*like.shape[:-1], 1)
    return functools.reduce(combine, (part.transpose(1, 2).reshape(shape) for part in parts)).contiguous()


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Return the dot products (M, N, L, L) of the positions of each line; `left` and `right` are (M, N, L, C)."""
    products = left.new_empty(*left.shape[:-1], left.shape[-2])
    for target, first, second in _batches(products, left, right.mT):
        torch.bmm(first, second, out=target)
    return products


def _weighted_sum(weights: Sequence[Tensor], values: Tensor) -> Tensor:
    """Return for each position the sum of `values` (B, *S, C) over its lines; `weights` are (M, N, L, L) per axis."""
    output = torch.empty_like(values)
    *others, last = range(1, values.ndim - 1)
    for target, left, right in _batches(_lines(output, last), weights[-1], _lines(values, last)):
        torch.bmm(left, right, out=target)
    for axis in others:
        for target, left, right in _batches(_lines(output, axis), weights[axis - 1], _lines(values, axis)):
            _add_product(target, left, right)
    return output


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left @ right` to `target` (N, L, C). Its memory has gaps, where `baddbmm` would go matrix by matrix."""
    lines = max(1, TEMPORARY // target[0].numel())
    parts = (torch.split(tensor, lines) for tensor in (target, left, right))
    for part, first, second in zip(*parts, strict=True):
        part.add_(torch.bmm(first, second))


def _batches(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield batches of matrices for one product each, without a copy: all of (M, N, ., .) at once, or each group."""
    if 1 in tensors[0].shape[:2]:
        tensors = tuple(tensor.flatten(0, 1)[None] for tensor in tensors)
    yield from zip(*tensors, strict=True)
