"""The einsum form, for pictures: the formula of CrissCrossAttention in mmcv.ops.cc_attention (mmcv 2.2), written anew.

https://github.com/open-mmlab/mmcv/blob/v2.2.0/mmcv/ops/cc_attention.py
"""

import torch


def einsum_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return scale * attended + residual, (B, C, H, W): einsum, -inf on a diagonal, concatenated softmax, einsum."""
    height = query.shape[2]
    itself = torch.diag(query.new_full((height,), -torch.inf))
    column = (torch.einsum("bdyx,bdix->bxyi", query, key) + itself).transpose(1, 2)
    row = torch.einsum("bdyx,bdyi->byxi", query, key)
    weights = torch.cat([column, row], -1).softmax(-1)
    attended = torch.einsum("bcix,byxi->bcyx", value, weights[..., :height])
    attended = attended + torch.einsum("bcyi,byxi->bcyx", value, weights[..., height:])
    return (scale * attended + residual).contiguous()
