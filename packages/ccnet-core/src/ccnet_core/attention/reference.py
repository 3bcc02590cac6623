"""Criss-cross attention in plain torch, on any device: the backend that always works.

Shape letters: B batch, D query and key channels, C value channels, H height, W width.
"""

import torch
from torch import Tensor

from ccnet_core.attention.interface import API_VERSION, AttentionSpec


def attention_weights(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights that each position gives to its column and to its row.

    `query` and `key` are (B, D, H, W). The result is `column` (B, H, W, H) and `row` (B, H, W, W): at (b, y, x, i)
    the weight of (i, x), respectively of (y, i). `column` is 0 at i == y, because the position itself is counted in
    its row. Both together sum to 1. There is no 1/sqrt(D), as in the paper.
    """
    height = query.shape[-2]
    column = torch.einsum("bdyx,bdix->byxi", query, key)
    row = torch.einsum("bdyx,bdyi->byxi", query, key)
    position = torch.arange(height, device=query.device)
    itself = position[:, None, None] == position[None, None, :]
    column = column.masked_fill(itself, float("-inf"))
    weights = torch.cat([column, row], dim=-1).softmax(dim=-1)
    return weights[..., :height], weights[..., height:]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the weighted sum of `value` (B, C, H, W) over the column and the row of each position."""
    column, row = attention_weights(query, key)
    return torch.einsum("byxi,bcix->bcyx", column, value) + torch.einsum("byxi,bcyi->bcyx", row, value)


class TorchBackend:
    """The attention backend made of torch operations."""

    name = "torch"
    version = str(torch.__version__)
    api_version = API_VERSION
    priority = 0

    def why_unsupported(self, spec: AttentionSpec) -> str | None:
        """Serve every device and floating dtype in two dimensions."""
        if spec.rank != 2:
            return f"computes attention over height and width; this call has {spec.rank} axes."
        if not spec.dtype.is_floating_point:
            return f"needs a floating dtype; this call is in {spec.dtype}."
        return None

    def prefers(self, spec: AttentionSpec) -> bool:  # noqa: ARG002
        """Be the choice whenever nothing of higher priority wants the call."""
        return True

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """Compute one step; see :class:`ccnet_core.attention.interface.AttentionBackend`."""
        attended = attend(query, key, value)
        if scale is not None:
            attended = scale * attended
        return attended if residual is None else attended + residual


backend = TorchBackend()
