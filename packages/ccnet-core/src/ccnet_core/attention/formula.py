"""Criss-cross attention as a formula: for any device and dtype, and for whatever traces or exports it.

Shape letters: B batch, D query and key channels, C value channels, T time, H height, W width.
"""

import functools

import torch
from torch import Tensor


def attention_weights(query: Tensor, key: Tensor) -> tuple[Tensor, ...]:
    """Return the weights that each position gives along each axis; all together sum to 1.

    `query` and `key` are (B, D, H, W). The result is `column` (B, H, W, H) and `row` (B, H, W, W): at (b, y, x, i)
    the weight of (i, x), respectively of (y, i). `column` is 0 at i == y, because the position itself is counted in
    its row. For clips (B, D, T, H, W) the result is `time` (B, T, H, W, T), `column` and `row` in the same way. There
    is no 1/sqrt(D), as in the paper.
    """
    extent = query.shape[2:]
    here, lines = _letters(len(extent))
    energies = [torch.einsum(f"bd{here},bd{line}->b{here}i", query, key) for line in lines]
    for axis in range(len(extent) - 1):
        energies[axis] = energies[axis].masked_fill(_itself(query, axis), float("-inf"))
    return torch.split(torch.cat(energies, dim=-1).softmax(dim=-1), list(extent), dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the weighted sum of `value` (B, C, H, W), or (B, C, T, H, W), over the cross of each position."""
    here, lines = _letters(value.ndim - 2)
    parts = zip(attention_weights(query, key), lines, strict=True)
    sums = (torch.einsum(f"b{here}i,bc{line}->bc{here}", weights, value) for weights, line in parts)
    return functools.reduce(torch.add, sums)


def _letters(rank: int) -> tuple[str, list[str]]:
    """Return the einsum letters of a position, and for each axis those of the line through it, with `i` along it."""
    here = "tyx"[-rank:]
    return here, [here.replace(axis, "i") for axis in here]


def _itself(query: Tensor, axis: int) -> Tensor:
    """Return where the line along `axis` meets the position it belongs to; broadcasts to the energies of `axis`."""
    extent = query.shape[2:]
    index = torch.arange(extent[axis], device=query.device)
    return (index[:, None] == index).view(extent[axis], *[1] * (len(extent) - 1 - axis), extent[axis])
