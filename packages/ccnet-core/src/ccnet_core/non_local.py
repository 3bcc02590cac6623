"""The non-local block that the paper compares criss-cross attention with, in the same slot.

Shape letters: B batch, C channels, D query and key channels, T frames, H height, W width, N = H * W positions.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.checks import is_whole, require, require_sizes
from ccnet_core.errors import AttentionError


class NonLocalBlock(nn.Module):
    """Each position attends to every position: `gamma * attended + x`.

    The embedded Gaussian of Wang et al. (2018, equation 4): softmax(query . key) over all N positions, without
    1/sqrt(D). Parameters are those of :class:`ccnet_core.CrissCrossAttention`: 1x1 convolutions to query and key
    (`channels // reduction`) and value (`channels`), and `gamma`, which starts at 0 and stands where Wang et al. put a
    zero-initialised output convolution. With these widths it costs what the CCNet paper reports, 108 GFLOPs at
    1x512x97x97.

    `fused` computes through scaled_dot_product_attention and stores no (N, N) map; otherwise the map is explicit. Both
    give the same result; `torch.func.vmap` and forward-mode derivatives need the explicit map. inf and NaN propagate
    as in torch; an empty batch or map gives an empty result. Raises ConfigError if `channels` is not a multiple of
    `reduction`, AttentionError for an input of another shape.
    """

    def __init__(self, channels: int, *, reduction: int = 8, gamma: float = 0.0, fused: bool = True) -> None:
        super().__init__()
        require_sizes(channels=(channels,), reduction=(reduction,))
        require(channels % reduction == 0, f"channels {channels} must be a multiple of reduction {reduction}")
        self.query_conv = nn.Conv2d(channels, channels // reduction, 1)
        self.key_conv = nn.Conv2d(channels, channels // reduction, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.full((1,), float(gamma)))
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        self._require_shape(x)
        if 0 in x.shape[2:]:  # which torch's convolutions refuse
            return x
        attend = fused_attention if self.fused else explicit_attention
        return x + self.gamma * attend(self.query_conv(x), self.key_conv(x), self.value_conv(x))

    def weights(self, x: Tensor) -> Tensor:
        """Return weights (B, H, W, H, W): at (b, y, x, i, j) what position (y, x) gives to (i, j). They sum to 1."""
        self._require_shape(x)
        size = x.shape[2:]
        return all_weights(self.query_conv(x), self.key_conv(x)).view(len(x), *size, *size)

    def _require_shape(self, x: Tensor) -> None:
        channels = self.value_conv.in_channels
        if x.ndim != 4 or x.shape[1] != channels:
            raise AttentionError(f"NonLocalBlock of {channels} channels takes (B, C, H, W); got {tuple(x.shape)}.")


class RecurrentNonLocalBlock(nn.Module):
    """The non-local block, `recurrence` times: one block again and again, or a new one for each step.

    `recurrence` 0 is the identity and has no parameters. Other arguments as for :class:`NonLocalBlock`.
    """

    def __init__(
        self,
        channels: int,
        *,
        recurrence: int = 1,
        shared_weights: bool = True,
        reduction: int = 8,
        gamma: float = 0.0,
        fused: bool = True,
    ) -> None:
        super().__init__()
        require(is_whole(recurrence) and recurrence >= 0, f"recurrence must be 0 or more, got {recurrence}")
        self.recurrence = recurrence
        count = min(recurrence, 1) if shared_weights else recurrence
        self.blocks = nn.ModuleList(
            NonLocalBlock(channels, reduction=reduction, gamma=gamma, fused=fused) for _ in range(count)
        )

    def steps(self) -> list[NonLocalBlock]:
        """Return the block of each step; with shared weights the same one `recurrence` times."""
        blocks = cast(list[NonLocalBlock], list(self.blocks))
        return blocks * self.recurrence if len(blocks) == 1 else blocks

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for step in self.steps():
            x = step(x)
        return x


class RecurrentNonLocalBlock3d(RecurrentNonLocalBlock):
    """The same for clips, (B, C, T, H, W) -> the same: every position attends to every position of every frame.

    The block knows neither rows nor columns, so the rows of all frames are one map with T * H of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        return super().forward(x.flatten(2, 3)).reshape(x.shape)


def all_weights(query: Tensor, key: Tensor) -> Tensor:
    """Return softmax(query . key) (B, N, N) of `query` and `key` (B, D, H, W); each row sums to 1."""
    return (query.flatten(2).mT @ key.flatten(2)).softmax(-1)


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the weighted sum of `value` (B, C, H, W) over all positions, through the whole (B, N, N) map."""
    return (value.flatten(2) @ all_weights(query, key).mT).view_as(value)


def fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return what :func:`explicit_attention` does, without the map.

    Kernels that store no map want query, key and value of one width and, in memory, channels last. So the C value
    channels become C / D heads that share query and key. Energies are computed once for each head.
    """
    size, width = value.shape[2:], query.shape[1]
    query, key, value = (_heads(part, width) for part in (query, key, value))
    attended = F.scaled_dot_product_attention(query.expand_as(value), key.expand_as(value), value, scale=1.0)
    return torch.unflatten(attended.transpose(1, 2).flatten(2).mT, 2, size)


def _heads(x: Tensor, width: int) -> Tensor:
    """(B, heads * width, H, W) -> (B, heads, N, width), in memory (B, N, heads, width)."""
    return torch.unflatten(x.contiguous(memory_format=torch.channels_last).flatten(2), 1, (-1, width)).mT
