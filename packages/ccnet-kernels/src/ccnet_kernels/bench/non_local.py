"""The non-local block's attention: the embedded Gaussian of Wang et al. (2018, equation 4), without 1/sqrt(D)."""

import torch
import torch.nn.functional as F


def explicit_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return scale * attended + residual, (B, C, *S), through the whole map of N * N weights."""
    weights = (query.flatten(2).mT @ key.flatten(2)).softmax(-1)
    return scale * (value.flatten(2) @ weights.mT).view_as(value) + residual


def fused_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return the same without the map, through scaled_dot_product_attention.

    Its kernels that store no map want query, key and value of one width, so the C value channels become C / D heads
    that share query and key; energies are computed once for each head.
    """
    heads = [_heads(part, query.shape[1]) for part in (query, key, value)]
    queries, keys = (part.expand_as(heads[2]) for part in heads[:2])
    attended = F.scaled_dot_product_attention(queries, keys, heads[2], scale=1.0)
    return scale * attended.mT.reshape(value.shape) + residual


def _heads(x: torch.Tensor, width: int) -> torch.Tensor:
    """(B, heads * width, *S) -> (B, heads, N, width), in memory (B, N, heads, width)."""
    return torch.unflatten(x.flatten(2).mT.contiguous(), 2, (-1, width)).transpose(1, 2)
