"""Criss-cross attention as a plain formula, which every backend is held against. Slow, any device, any dtype."""

import torch


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return scale * attended + residual, (B, C, H, W). Stores the map of H * W * (H + W) weights.

    Shapes: query and key (B, D, H, W), value and residual (B, C, H, W), scale (1,) or ().
    """
    height = query.shape[2]
    itself = torch.eye(height, dtype=torch.bool, device=query.device)[:, None, :]  # (H, 1, H), counted in the row
    column = torch.einsum("bchw,bciw->bhwi", query, key).masked_fill(itself, -torch.inf)
    row = torch.einsum("bchw,bchj->bhwj", query, key)
    weights = torch.cat([column, row], -1).softmax(-1)
    attended = torch.einsum("bhwi,bciw->bchw", weights[..., :height], value)
    attended = attended + torch.einsum("bhwj,bchj->bchw", weights[..., height:], value)
    return scale * attended + residual
