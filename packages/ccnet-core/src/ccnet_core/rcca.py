"""The criss-cross attention module and its recurrence (paper, section 3.2 and 3.3).

Shape letters: B batch, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

from ccnet_core.attention.interface import spec_of
from ccnet_core.attention.reference import attention_weights
from ccnet_core.attention.select import require_known, select
from ccnet_core.checks import is_whole, require, require_sizes


class CrissCrossAttention(nn.Module):
    """Each position attends to its own row and column: `gamma * attended + x`.

    1x1 convolutions make query and key (`channels // reduction`) and value (`channels`). `gamma`, of shape (1,),
    starts at 0 in the paper, so that a fresh module is the identity. The parameter names are those of the authors'
    code. `backend` asks for an attention backend by name; None chooses automatically.

    Raises ConfigError if `channels` is not a multiple of `reduction`, AttentionError for an unknown `backend`.
    """

    def __init__(self, channels: int, *, reduction: int = 8, gamma: float = 0.0, backend: str | None = None) -> None:
        super().__init__()
        require_sizes(channels=(channels,), reduction=(reduction,))
        require(channels % reduction == 0, f"channels {channels} must be a multiple of reduction {reduction}")
        require_known(backend)  # also loads the plug-ins, so that no traced code ever does it
        self.query_conv = nn.Conv2d(channels, channels // reduction, 1)
        self.key_conv = nn.Conv2d(channels, channels // reduction, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.full((1,), gamma))
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        attend = select(spec_of(query, value, key, self.gamma, x), self.backend)
        return attend(query, key, value, scale=self.gamma, residual=x)

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return column (B, H, W, H) and row (B, H, W, W) weights; see :func:`attention_weights`."""
        return attention_weights(self.query_conv(x), self.key_conv(x))


class RecurrentCrissCrossAttention(nn.Module):
    """The same criss-cross attention, `recurrence` times with shared weights.

    After two steps every position has information of every other one. `recurrence` 0 is the identity and has no
    parameters. Arguments as for :class:`CrissCrossAttention`.
    """

    def __init__(
        self,
        channels: int,
        *,
        recurrence: int = 2,
        reduction: int = 8,
        gamma: float = 0.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        require(is_whole(recurrence) and recurrence >= 0, f"recurrence must be 0 or more, got {recurrence}")
        self.recurrence = recurrence
        if recurrence:
            self.cca = CrissCrossAttention(channels, reduction=reduction, gamma=gamma, backend=backend)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for _ in range(self.recurrence):
            x = self.cca(x)
        return x
