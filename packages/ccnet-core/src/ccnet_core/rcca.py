"""The criss-cross attention modules and their recurrence (paper, sections 3.2 and 3.3; clips: section 3.5).

Shape letters: B batch, C channels, T time, H height, W width.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.attention.formula import attention_weights
from ccnet_core.attention.interface import spec_of
from ccnet_core.attention.select import require_known, select
from ccnet_core.checks import is_whole, require, require_sizes
from ccnet_core.errors import AttentionError


def prefers_one_convolution(x: Tensor) -> bool:
    """Return whether `x` is better read once for query, key and value: on CUDA, if they come in half precision.

    By count there: a 1x1 convolution moves more bytes than its products take time for. Not yet measured on a GPU; on
    the CPU it makes no difference.
    """
    if not x.is_cuda:
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x.dtype
    return dtype in (torch.float16, torch.bfloat16)


class CrissCrossAttention(nn.Module):
    """Each position attends to its own row and column, H + W - 1 positions: `gamma * attended + x`.

    1x1 convolutions make query and key (`channels // reduction`) and value (`channels`). `gamma`, of shape (1,),
    starts at 0 in the paper, so that a fresh module is the identity. The parameter names are those of the authors'
    code. `backend` asks for an attention backend by name; None chooses automatically.

    inf and NaN in the input propagate as in torch. An empty batch or an empty map gives an empty result. Raises
    ConfigError if `channels` is not a multiple of `reduction`, AttentionError for an unknown `backend` and for an input
    of another shape.
    """

    convolution: type[nn.Conv2d | nn.Conv3d] = nn.Conv2d
    expected = "(B, C, H, W)"

    def __init__(self, channels: int, *, reduction: int = 8, gamma: float = 0.0, backend: str | None = None) -> None:
        super().__init__()
        require_sizes(channels=(channels,), reduction=(reduction,))
        require(channels % reduction == 0, f"channels {channels} must be a multiple of reduction {reduction}")
        require_known(backend)  # also loads the plug-ins, so that no traced code ever does it
        self.query_conv = self.convolution(channels, channels // reduction, 1)
        self.key_conv = self.convolution(channels, channels // reduction, 1)
        self.value_conv = self.convolution(channels, channels, 1)
        self.gamma = nn.Parameter(torch.full((1,), float(gamma)))
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        self._require_shape(x)
        if 0 in x.shape[2:]:  # which torch's convolutions refuse
            return x
        query, key, value = self._project(x)
        attend = select(spec_of(query, value, key, self.gamma, x), self.backend)
        return attend(query, key, value, scale=self.gamma, residual=x)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return query, key and value, as channels of one map where one convolution is to make all three."""
        convolutions = self.query_conv, self.key_conv, self.value_conv
        if not prefers_one_convolution(x) or any(type(each) is not self.convolution for each in convolutions):
            return tuple(each(x) for each in convolutions)
        weight = torch.cat([each.weight for each in convolutions])
        bias = torch.cat([cast(Tensor, each.bias) for each in convolutions])
        convolve = F.conv2d if self.convolution is nn.Conv2d else F.conv3d
        joint = convolve(x, weight, bias)
        return torch.split_with_sizes(joint, [each.out_channels for each in convolutions], dim=1)

    def weights(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return column (B, H, W, H) and row (B, H, W, W) weights.

        See :func:`ccnet_core.attention.formula.attention_weights`.
        """
        self._require_shape(x)
        return attention_weights(self.query_conv(x), self.key_conv(x))

    def _require_shape(self, x: Tensor) -> None:
        channels = self.value_conv.in_channels
        if x.ndim != self.expected.count(",") + 1 or x.shape[1] != channels:
            raise AttentionError(
                f"{type(self).__name__} of {channels} channels takes {self.expected}; got {tuple(x.shape)}."
            )


class CrissCrossAttention3d(CrissCrossAttention):
    """Each position of a clip attends along time, column and row, T + H + W - 2 positions, itself once.

    (B, C, T, H, W) -> the same, through 1x1x1 convolutions; else as :class:`CrissCrossAttention`. `weights` gives time
    (B, T, H, W, T), column (B, T, H, W, H) and row (B, T, H, W, W).
    """

    convolution = nn.Conv3d
    expected = "(B, C, T, H, W)"


class RecurrentCrissCrossAttention(nn.Module):
    """Criss-cross attention, `recurrence` times: one module `cca` again and again, or a new one for each step.

    With `shared_weights`, as in the paper, `cca` is the module; without, the list of modules. After two steps every
    position has information of every other one. `recurrence` 0 is the identity and has no parameters. Other arguments
    as for :class:`CrissCrossAttention`.
    """

    module: type[CrissCrossAttention] = CrissCrossAttention
    cca: CrissCrossAttention | nn.ModuleList

    def __init__(
        self,
        channels: int,
        *,
        recurrence: int = 2,
        shared_weights: bool = True,
        reduction: int = 8,
        gamma: float = 0.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        require(is_whole(recurrence) and recurrence >= 0, f"recurrence must be 0 or more, got {recurrence}")
        self.recurrence = recurrence
        count = min(recurrence, 1) if shared_weights else recurrence
        modules = [self.module(channels, reduction=reduction, gamma=gamma, backend=backend) for _ in range(count)]
        if recurrence:
            self.cca = modules[0] if shared_weights else nn.ModuleList(modules)

    def steps(self) -> list[CrissCrossAttention]:
        """Return the module of each step; with shared weights the same one `recurrence` times."""
        if not self.recurrence:
            return []
        if isinstance(self.cca, nn.ModuleList):
            return cast(list[CrissCrossAttention], list(self.cca))
        return [self.cca] * self.recurrence

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        for step in self.steps():
            x = step(x)
        return x

    def weights(self, x: Tensor) -> list[tuple[Tensor, ...]]:
        """Return column (B, H, W, H) and row (B, H, W, W) weights of each step, the first one first."""
        found = []
        for step in self.steps():
            found.append(step.weights(x))
            x = step(x)
        return found


class RecurrentCrissCrossAttention3d(RecurrentCrissCrossAttention):
    """The same for clips, by :class:`CrissCrossAttention3d`: (B, C, T, H, W) -> the same.

    After two steps a position has information of what shares its time, its row or its column, after three of
    everything: each step moves along one of three axes.
    """

    module = CrissCrossAttention3d
