"""Criss-cross attention as torch operators: the public function, its argument checks and its gradient.

Letters: B batch, D query and key channels, C value channels, H height, W width.

The operator on (query, key, value) is opaque to torch.compile, which traces around it. Scale and residual are plain
torch: their gradients are torch's own, and a compiler may fuse them with what follows.
"""

from typing import Any

import torch

from ccnet_kernels.errors import KernelError
from ccnet_kernels.support import spec_of, why_unsupported


def criss_cross_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend along row and column, the pixel itself once, with one joint softmax and no 1/sqrt(D).

    Shapes: query and key (B, D, H, W), value and residual (B, C, H, W), scale (1,) or (). The result is
    `scale * attended + residual`, (B, C, H, W), contiguous; a missing scale counts as 1, a missing residual as 0.
    All tensors are float32 on one CUDA device. Each direction copies an argument in another memory layout to NCHW.
    Differentiable once in every argument; two runs give the same bits.
    Raises KernelError, a ValueError, for anything else.
    """
    _check_arguments(query, key, value, scale, residual)
    reason = why_unsupported(spec_of(query, value, key, scale, residual))
    if reason is not None:
        raise KernelError(reason)
    return attend(query, key, value, scale=scale, residual=residual)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """Do what `criss_cross_attention` does, without its checks, on any device that Numba's launches reach."""
    attended: torch.Tensor = attend_forward(query, key, value)[0]
    if scale is not None and residual is not None:
        return torch.addcmul(residual, scale, attended)  # no scaled map in between
    if scale is not None:
        return scale * attended
    return attended if residual is None else attended + residual


@torch.library.custom_op("ccnet_kernels::attend_forward", mutates_args=())
def attend_forward(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attended map (B, C, H, W) and the log-sum-exp of each pixel's energies (B, H, W)."""
    from ccnet_kernels.cuda import launch  # imports Numba

    outputs = _empty_forward(query, key, value)
    launch.on_tensors(launch.forward, [tensor.contiguous() for tensor in (query, key, value, *outputs)])
    return outputs


@torch.library.custom_op("ccnet_kernels::attend_backward", mutates_args=())
def attend_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attended: torch.Tensor,
    log_sums: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key and value for a `gradient` (B, C, H, W) of the attended map."""
    from ccnet_kernels.cuda import launch  # imports Numba

    outputs = _empty_backward(gradient, query, key, value, attended, log_sums)
    delta = torch.empty_like(log_sums)
    tensors = (gradient, query, key, value, attended, log_sums, delta, *outputs)
    launch.on_tensors(launch.backward, [tensor.contiguous() for tensor in tensors])
    return outputs


def _empty_forward(query: torch.Tensor, _key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    batch, _, height, width = query.shape
    return value.new_empty(value.shape), value.new_empty((batch, height, width))


def _empty_backward(
    _gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attended: torch.Tensor,
    _log_sums: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)


def _save(ctx: Any, inputs: tuple[torch.Tensor, ...], output: tuple[torch.Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _gradients(ctx: Any, gradient: torch.Tensor, _log_sums_gradient: torch.Tensor) -> Any:
    return attend_backward(gradient, *ctx.saved_tensors)


attend_forward.register_fake(_empty_forward)
attend_backward.register_fake(_empty_backward)
attend_forward.register_autograd(_gradients, setup_context=_save)


def _check_arguments(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: torch.Tensor | None,
    residual: torch.Tensor | None,
) -> None:
    if query.ndim < 3:
        raise KernelError(f"query has shape {tuple(query.shape)}; expected (B, D, H, W)")
    if key.shape != query.shape:
        raise KernelError(f"key has shape {tuple(key.shape)}; expected that of query, {tuple(query.shape)}")
    if value.ndim != query.ndim or value.shape[0] != query.shape[0] or value.shape[2:] != query.shape[2:]:
        expected = ", ".join(["C", *map(str, query.shape[2:])])
        raise KernelError(f"value has shape {tuple(value.shape)}; expected ({query.shape[0]}, {expected})")
    if scale is not None and scale.shape not in ((), (1,)):
        raise KernelError(f"scale has shape {tuple(scale.shape)}; expected () or (1,)")
    if residual is not None and residual.shape != value.shape:
        raise KernelError(f"residual has shape {tuple(residual.shape)}; expected that of value, {tuple(value.shape)}")
    for name, tensor in {"key": key, "value": value, "scale": scale, "residual": residual}.items():
        if tensor is not None and (tensor.dtype, tensor.device) != (query.dtype, query.device):
            raise KernelError(f"{name} is {tensor.dtype} on {tensor.device}; query is {query.dtype} on {query.device}")
