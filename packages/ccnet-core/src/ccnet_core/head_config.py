"""How the heads of a network are built."""

import math
from dataclasses import dataclass
from typing import Literal

from ccnet_core.checks import LARGEST_COUNT, is_whole, require, require_sizes, require_slope


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The recurrent criss-cross attention head.

    `attention` is what stands between the convolutions: criss-cross attention, or the non-local block that the paper
    compares it with. It is applied `recurrence` times, 0 leaves it out, with one set of weights or, if not
    `shared_weights`, with one for each step. `reduction` divides `channels` for query and key. `kernel_size` is that
    of the three convolutions around attention: 3 in every published model, 1 keeps the head from seeing neighbours.
    `negative_slope` belongs to the activation after these: 0 is ReLU, the authors' network has leaky ReLU with 0.01.
    `gamma` is where the learned weight of attention starts: 0 in every published model. `consistency_channels` adds a
    1x1 convolution of the attended features for the category consistent loss (16 in the paper). `frames` above 1 makes
    a model of clips of up to so many frames: attention also goes along time.
    """

    attention: Literal["criss_cross", "non_local"] = "criss_cross"
    channels: int = 512
    reduction: int = 8
    recurrence: int = 2
    shared_weights: bool = True
    kernel_size: int = 3
    negative_slope: float = 0.0
    dropout: float = 0.1
    gamma: float = 0.0
    consistency_channels: int | None = None
    frames: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        kinds = ("criss_cross", "non_local")
        require(self.attention in kinds, f"attention must be 'criss_cross' or 'non_local', got {self.attention!r}")
        require_sizes(channels=(self.channels,), reduction=(self.reduction,))
        if self.consistency_channels is not None:
            require_sizes(consistency_channels=(self.consistency_channels,))
        fits = self.channels % self.reduction == 0
        require(fits, f"channels {self.channels} must be a multiple of reduction {self.reduction}")
        counted = is_whole(self.recurrence) and 0 <= self.recurrence <= LARGEST_COUNT
        require(counted, f"recurrence must be a whole number from 0 to {LARGEST_COUNT}, got {self.recurrence!r}")
        require_sizes(kernel_size=(self.kernel_size,), frames=(self.frames,), largest=LARGEST_COUNT)
        require(self.kernel_size % 2 == 1, f"kernel_size must be odd, got {self.kernel_size}")
        require_slope(self.negative_slope)
        require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, got {self.dropout}")
        require(math.isfinite(self.gamma), f"gamma must be a number, got {self.gamma}")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHeadConfig:
    """A fully convolutional head on an earlier stage (`stage` 0 is the first), used by the training loss.

    `conv_bias` and `negative_slope` (see :class:`HeadConfig`) are those of its 3x3 convolution: the authors' network
    has a bias beside the batch norm, and leaky ReLU.
    """

    stage: int = 2
    channels: int = 256
    conv_bias: bool = False
    negative_slope: float = 0.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        require_sizes(channels=(self.channels,))
        require_slope(self.negative_slope)
        require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class ParsingConfig:
    """The head of CE2P (Ruan et al., 2019), for parsing humans, with criss-cross attention as its context.

    `channels` are those of the decoder, of the edge features of a stage, and of what the last classifier takes;
    `detail_channels` those that the decoder takes of stage 1. Activation and dropout are those of :class:`HeadConfig`.
    """

    channels: int = 256
    detail_channels: int = 48

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        require_sizes(channels=(self.channels,), detail_channels=(self.detail_channels,))
