"""The criss-cross head for inference: every batch norm folded, sums and activations inside the convolutions.

Shape letters: B batch, C channels, K classes, h and w size of the feature map.
"""

import copy
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ccnet_core.folding import Filters, filters_of, fold
from ccnet_core.fused_convolution import FusedConvolution
from ccnet_core.heads import Classifier, ConvNormRelu, CrissCrossHead

RELU, NO_ACTIVATION = 0.0, 1.0
"""Slopes of :class:`FusedConvolution`."""


class Fuse(Protocol):
    """Makes the convolutions of one network: :func:`fused_convolution` with dtype and form decided."""

    def __call__(self, filters: Filters, like: nn.Conv2d, *, slope: float) -> FusedConvolution:
        """Return a convolution with `filters`."""
        ...


class Context(nn.Module):
    """Attention, and what is around it. A convolution of concatenated maps is two that add: nothing is concatenated."""

    def __init__(self, head: CrissCrossHead, fuse: Fuse, dtype: torch.dtype) -> None:
        super().__init__()
        self.reduce = conv_norm_relu(head.reduce, fuse)
        self.attention = copy.deepcopy(head.attention).to(dtype)
        for step in self.attention.steps():
            for name in ("query_conv", "key_conv", "value_conv"):
                conv = step.get_submodule(name)
                if isinstance(conv, nn.Conv2d):  # a step that comes again is done
                    setattr(step, name, fuse(filters_of(conv), conv, slope=NO_ACTIVATION))
        self.refine = conv_norm_relu(head.refine, fuse)
        conv, (weight, bias), slope = folded(head.fuse)
        channels = conv.in_channels - conv.out_channels
        of_input, of_refined = weight[:, :channels], weight[:, channels:]
        self.fuse_input = fuse(Filters(of_input, torch.zeros_like(bias)), conv, slope=NO_ACTIVATION)
        self.fuse_refined = fuse(Filters(of_refined, bias), conv, slope=slope)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, channels, h, w)."""
        refined = self.refine(self.attention(self.reduce(x)))
        return cast(Tensor, self.fuse_refined(refined, self.fuse_input(x)))


class Head(Context):
    """The criss-cross head."""

    def __init__(self, head: CrissCrossHead, fuse: Fuse, dtype: torch.dtype) -> None:
        super().__init__(head, fuse, dtype)
        self.classify = classifier(head.classify, fuse)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> logits (B, K, h, w)."""
        return cast(Tensor, self.classify(super().forward(x)))


def classifier(layer: Classifier, fuse: Fuse) -> FusedConvolution:
    """Return the convolution of a classifier."""
    conv = cast(nn.Conv2d, layer.get_submodule("conv"))
    return fuse(filters_of(conv), conv, slope=NO_ACTIVATION)


def conv_norm_relu(layer: ConvNormRelu, fuse: Fuse) -> FusedConvolution:
    """Return `layer` as one convolution."""
    conv, filters, slope = folded(layer)
    return fuse(filters, conv, slope=slope)


def folded(layer: ConvNormRelu) -> tuple[nn.Conv2d, Filters, float]:
    """Return the convolution, its filters with the batch norm, and the slope of the activation."""
    conv, norm, activation = layer
    slope = activation.negative_slope if isinstance(activation, nn.LeakyReLU) else RELU
    return cast(nn.Conv2d, conv), fold(cast(nn.Conv2d, conv), norm), slope
