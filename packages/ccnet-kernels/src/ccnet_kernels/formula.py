"""The plain formulas that everything is held against: slow, any device, any dtype, pictures and clips.

Letters: B batch, D query and key channels, C value channels, S the axes of position ((H, W), or (T, H, W) for clips),
N their product. Each returns scale * attended + residual, (B, C, *S), of query and key (B, D, *S), value and residual
(B, C, *S), and scale (1,) or ().
"""

import torch
from torch.utils.checkpoint import checkpoint

QUERIES = 1024  # that the non-local formula looks at together


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Attend along every axis of position, the position itself once. Stores its N * (H + W) weights."""
    here = "tyx"[5 - query.ndim :]
    lines = [here.replace(axis, "i") for axis in here]
    energies = [torch.einsum(f"bd{here},bd{line}->b{here}i", query, key) for line in lines]
    for axis, energy in enumerate(energies[:-1]):  # counted along the last axis
        index = torch.arange(query.shape[2 + axis], device=query.device)
        itself = (index[:, None] == index).view(len(index), *[1] * (len(here) - axis - 1), len(index))
        energies[axis] = energy.masked_fill(itself, -torch.inf)
    weights = torch.split(torch.cat(energies, -1).softmax(-1), list(query.shape[2:]), -1)
    sums = [
        torch.einsum(f"b{here}i,bc{line}->bc{here}", part, value) for part, line in zip(weights, lines, strict=True)
    ]
    return scale * torch.stack(sums).sum(0) + residual


def plain_non_local(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Attend to all N positions, a few queries at a time, so that no map of N * N weights is ever whole."""
    keys, values = key.flatten(2), value.flatten(2).mT
    attended = [
        checkpoint(_attend_to_all, part, keys, values, use_reentrant=False)
        for part in torch.split(query.flatten(2).mT, QUERIES, dim=1)
    ]
    return scale * torch.cat(attended, 1).mT.view_as(value) + residual


def _attend_to_all(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return (queries @ keys).softmax(-1) @ values
