"""The two heads of CCNet: recurrent criss-cross attention, and the auxiliary one.

Shape letters: B batch, C channels, K classes, h and w height and width of the feature map.
"""

from typing import cast

import torch
from torch import Tensor, nn

from ccnet_core.activation_checkpointing import Checkpointed
from ccnet_core.config import AuxiliaryHeadConfig, HeadConfig
from ccnet_core.non_local import RecurrentNonLocalBlock, RecurrentNonLocalBlock3d
from ccnet_core.rcca import RecurrentCrissCrossAttention, RecurrentCrissCrossAttention3d

ATTENTION: dict[str, tuple[type[RecurrentCrissCrossAttention | RecurrentNonLocalBlock], ...]] = {
    "criss_cross": (RecurrentCrissCrossAttention, RecurrentCrissCrossAttention3d),
    "non_local": (RecurrentNonLocalBlock, RecurrentNonLocalBlock3d),
}
"""The modules of each `HeadConfig.attention`: for pictures, for clips."""


class ConvNormRelu(nn.Sequential):
    """A convolution that keeps the size, batch norm and ReLU, leaky if `negative_slope` is above 0."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, negative_slope: float, bias: bool = False
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        super().__init__()
        self.add_module("conv", conv)
        self.add_module("norm", nn.BatchNorm2d(out_channels))
        leaky = nn.LeakyReLU(negative_slope, inplace=True)
        self.add_module("relu", leaky if negative_slope else nn.ReLU(inplace=True))


class Classifier(nn.Sequential):
    """Dropout of whole channels and a 1x1 convolution to the classes, N(0, 0.01) at the start."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        conv = nn.Conv2d(channels, num_classes, 1)
        nn.init.normal_(conv.weight, std=0.01)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        super().__init__()
        self.add_module("dropout", nn.Dropout2d(dropout))
        self.add_module("conv", conv)

    def renewed(self, num_classes: int) -> "Classifier":
        """Return a new one of the same input, on the CPU."""
        return Classifier(
            cast(nn.Conv2d, self.get_submodule("conv")).in_channels,
            num_classes,
            cast(nn.Dropout2d, self.get_submodule("dropout")).p,
        )


class CrissCrossHead(Checkpointed):
    """reduce -> attend R times -> refine -> concatenate with the input -> fuse -> classify.

    With `consistency_channels`, a 1x1 convolution of the attended features is a second output.
    """

    def __init__(self, in_channels: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__()
        channels, kernel_size, slope = config.channels, config.kernel_size, config.negative_slope
        self.reduce = ConvNormRelu(in_channels, channels, kernel_size, negative_slope=slope)
        self.attention = make_attention(config)
        self.refine = ConvNormRelu(channels, channels, kernel_size, negative_slope=slope)
        self.fuse = ConvNormRelu(in_channels + channels, channels, kernel_size, negative_slope=slope)
        self.classify = Classifier(channels, num_classes, config.dropout)
        self.consistency = None
        if config.consistency_channels is not None:
            self.consistency = nn.Conv2d(channels, config.consistency_channels, 1)

    def forward(self, x: Tensor, *, consistency: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, C, h, w) -> logits (B, K, h, w), and the features (B, consistency_channels, h, w) if asked for."""
        return self.decide(x, self.attention(self.reduce(x)), consistency=consistency)

    def decide(self, x: Tensor, attended: Tensor, *, consistency: bool) -> tuple[Tensor, Tensor | None]:
        """Return what :meth:`forward` does, from its input and what attention made of it."""
        features = self.consistency(attended) if consistency and self.consistency is not None else None
        return self.classify(self.context(x, attended)), features

    def context(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return what is classified, (B, channels, h, w), from the input and what attention made of it."""
        return cast(Tensor, self.fuse(torch.cat([x, self.refine(attended)], dim=1)))

    def keep_answer(self) -> None:
        """Drop the layers whose outputs only a training loss takes."""
        self.consistency = None


def make_attention(config: HeadConfig) -> RecurrentCrissCrossAttention | RecurrentNonLocalBlock:
    """Return what stands between reduce and refine."""
    pictures, clips = ATTENTION[config.attention]
    block = clips if config.frames > 1 else pictures
    return block(
        config.channels,
        recurrence=config.recurrence,
        shared_weights=config.shared_weights,
        reduction=config.reduction,
        gamma=config.gamma,
    )


class AuxiliaryHead(Checkpointed):
    """3x3 convolution and classifier on an earlier stage."""

    def __init__(self, in_channels: int, num_classes: int, config: AuxiliaryHeadConfig) -> None:
        super().__init__()
        self.reduce = ConvNormRelu(
            in_channels, config.channels, 3, negative_slope=config.negative_slope, bias=config.conv_bias
        )
        self.classify = Classifier(config.channels, num_classes, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> logits (B, K, h, w)."""
        return cast(Tensor, self.classify(self.reduce(x)))
