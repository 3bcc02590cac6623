"""Row and column scaled_dot_product_attention, merged by their log-sum-exp: the best that torch's own kernels offer.

Each axis is attended on its own; the parts are weighted by exp(log-sum-exp of the axis - joint log-sum-exp). Going
back, the kernels are given the joint output and the joint log-sum-exp in place of their own, and so compute the joint
gradient, as ring attention does between devices (Liu et al., 2023, https://arxiv.org/abs/2310.01889).

The public function gives no log-sum-exp, so the operators below it are called: the memory-efficient one on CUDA, as
flash attention takes no mask and at most 256 channels, and on the CPU the only one.

Letters: B batch, S the axes of position, G heads, D query and key channels of a head, C its value channels, L positions
of a line, M lines of all the other axes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

LOG_SUMS_TILE = 32  # the memory-efficient kernels round the length of their log-sum-exp up to this
BIAS_TILE = 8  # and want the rows of a mask this far apart


def merged_attention(split: bool) -> Callable[..., torch.Tensor]:
    """Return the attention function; with `split`, value becomes heads of D channels that share query and key."""

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
    ) -> torch.Tensor:
        heads = value.shape[1] // query.shape[1] if split else 1
        query, key, value = (tensor.movedim(1, -1).contiguous() for tensor in (query, key, value))
        value = torch.unflatten(value, -1, (heads, -1))
        query, key = (tensor[..., None, :].expand(*value.shape[:-1], -1) for tensor in (query, key))
        attended: torch.Tensor = _Merged.apply(query, key, value)  # type: ignore[no-untyped-call]
        return scale * attended.flatten(-2).movedim(-1, 1) + residual

    return attend


class _Merged(torch.autograd.Function):
    """Query and key (B, *S, G, D), value and the result (B, *S, G, C)."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        parts = [_attend_along(axis, query, key, value) for axis in _axes(query)]
        joint = torch.stack([log_sums for _, log_sums in parts]).logsumexp(0)
        shares = [(log_sums - joint).exp() * output for output, log_sums in parts]
        merged = torch.stack(shares).sum(0).to(value.dtype)
        ctx.save_for_backward(query, key, value, merged, joint)
        return merged

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
        saved = (upstream, *ctx.saved_tensors)
        parts = [_gradients_along(axis, *saved) for axis in _axes(upstream)]
        return tuple(torch.stack(of_axes).sum(0) for of_axes in zip(*parts, strict=True))


def _axes(x: torch.Tensor) -> range:
    return range(1, x.ndim - 2)


def _lines(x: torch.Tensor, axis: int) -> torch.Tensor:
    """(B, *S, G, channels) -> (B, M * G, L, channels), without a copy where strides allow."""
    return x.movedim(axis, -2).flatten(1, -3)


def _maps(lines: torch.Tensor, axis: int, like: torch.Tensor) -> torch.Tensor:
    """Undo `_lines`: (B, M * G, L, channels) -> (B, *S, G, channels), of the positions and heads of `like`."""
    others = [size for other, size in enumerate(like.shape[:-1]) if other not in (0, axis)]
    return torch.unflatten(lines, 1, others).movedim(-2, axis)


def _mask(x: torch.Tensor, axis: int) -> torch.Tensor | None:
    """Return -inf at the position itself, (L, L), for all axes but the last, where it is counted."""
    if axis == _axes(x)[-1]:
        return None
    length = x.shape[axis]
    padded = x.new_zeros(length, -(-length // BIAS_TILE) * BIAS_TILE)
    return padded.fill_diagonal_(-torch.inf)[:, :length]


def _attend_along(axis: int, *maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attended map (B, *S, G, C) and the log-sum-exp of energies (B, *S, G, 1), float32."""
    query, key, value = (_lines(x, axis) for x in maps)
    attend = attend_on_cuda if maps[0].is_cuda else attend_on_cpu
    output, log_sums = attend(query, key, value, _mask(maps[0], axis))
    return _maps(output, axis, maps[0]), _maps(log_sums[..., None], axis, maps[0])


def _gradients_along(axis: int, *maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return what an axis adds to the gradients of query, key and value."""
    upstream, query, key, value, merged, joint = (_lines(x, axis) for x in maps)
    gradients_on = gradients_on_cuda if upstream.is_cuda else gradients_on_cpu
    gradients = gradients_on(upstream, query, key, value, merged, joint[..., 0].contiguous(), _mask(maps[0], axis))
    return tuple(_maps(gradient, axis, maps[0]) for gradient in gradients)


def attend_on_cpu(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output (B, M * G, L, C) and log-sum-exp (B, M * G, L) of lines (B, M * G, L, channels)."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, log_sums = operator(query, key, value, attn_mask=mask, scale=1.0)
    return output, log_sums


def attend_on_cuda(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what `attend_on_cpu` does."""
    operator = torch.ops.aten._scaled_dot_product_efficient_attention
    output, log_sums, _, _ = operator(query, key, value, _of_all_lines(mask, query), True, scale=1.0)
    return output, log_sums[..., : query.shape[2]]


def gradients_on_cpu(
    upstream: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    merged: torch.Tensor,
    log_sums: torch.Tensor,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of query, key and value, each in the shape of its tensor."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return tuple(operator(upstream, query, key, value, merged, log_sums, 0.0, False, attn_mask=mask, scale=1.0))


def gradients_on_cuda(
    upstream: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    merged: torch.Tensor,
    log_sums: torch.Tensor,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """Do what `gradients_on_cpu` does."""
    operator = torch.ops.aten._scaled_dot_product_efficient_attention_backward
    padded = F.pad(log_sums, (0, -log_sums.shape[2] % LOG_SUMS_TILE), value=torch.inf)
    saved = (upstream, query, key, value, _of_all_lines(mask, query), merged, padded)
    no_seed, no_offset = (torch.zeros((), dtype=torch.int64) for _ in range(2))  # of the dropout
    return tuple(operator(*saved, no_seed, no_offset, 0.0, [True, True, True, False], scale=1.0)[:3])


def _of_all_lines(mask: torch.Tensor | None, lines: torch.Tensor) -> torch.Tensor | None:
    return None if mask is None else mask.expand(*lines.shape[:2], -1, -1)
