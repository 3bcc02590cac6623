"""The layers of a CCNet for inference: every batch norm folded, sums and activations inside the convolutions.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

import copy
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from ccnet_core.backbone import Backbone
from ccnet_core.folding import Filters, filters_of, fold
from ccnet_core.fused_convolution import FusedConvolution, fused_convolution
from ccnet_core.heads import ConvNormRelu, CrissCrossHead
from ccnet_core.resnet import BasicBlock, Bottleneck, ResNet

if TYPE_CHECKING:
    from ccnet_core.model import CCNet

RELU, NO_ACTIVATION = 0.0, 1.0
"""Slopes of :class:`FusedConvolution`."""


class Fuse(Protocol):
    """Makes the convolutions of one network: :func:`fused_convolution` with dtype and form decided."""

    def __call__(self, filters: Filters, like: nn.Conv2d, *, slope: float) -> FusedConvolution:
        """Return a convolution with `filters`."""
        ...


class FoldedNetwork(nn.Module):
    """Layers one after another, in a forward of their own: of a bare Sequential torch.compile makes a graph a layer."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> logits (B, K, h, w)."""
        return cast(Tensor, self.layers(x))


def folded_network(model: "CCNet", *, dtype: torch.dtype, traced: bool) -> FoldedNetwork:
    """Return what takes normalised pictures (B, 3, H, W) of `dtype` to logits (B, K, h, w), on the model's device.

    `traced` is for a compiler. The model is not changed, and shares no tensor with the result.
    """

    def fuse(filters: Filters, like: nn.Conv2d, *, slope: float) -> FusedConvolution:
        return fused_convolution(filters, like, slope=slope, dtype=dtype, traced=traced)

    head = Head(model.head, fuse, dtype)
    if isinstance(model.backbone, ResNet):
        network = FoldedNetwork(*_resnet_layers(model.backbone, fuse), head)
    else:
        network = FoldedNetwork(LastMap(copy.deepcopy(model.backbone).to(dtype)), head)
    return network.eval().requires_grad_(False)


class LastMap(nn.Module):
    """A backbone as it is, of which the head takes the last feature map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> (B, C, h, w)."""
        return cast(Tensor, self.backbone(x.contiguous())[-1].contiguous(memory_format=torch.channels_last))


def _resnet_layers(backbone: ResNet, fuse: Fuse) -> list[nn.Module]:
    convs, norms = (list(backbone.stem)[first::3] for first in (0, 1))
    pairs = zip(cast(list[nn.Conv2d], convs), norms, strict=True)
    layers: list[nn.Module] = [fuse(fold(conv, norm), conv, slope=RELU) for conv, norm in pairs]
    stages = [cast(nn.Sequential, backbone.get_submodule(name)) for name in backbone.stages]
    blocks = [ResidualBlock(cast(Any, block), fuse) for stage in stages for block in stage]
    return [*layers, copy.deepcopy(backbone.maxpool), *blocks]


class ResidualBlock(nn.Module):
    """A basic or bottleneck block. The last convolution adds the shortcut, in whose memory the result may be."""

    def __init__(self, block: BasicBlock | Bottleneck, fuse: Fuse) -> None:
        super().__init__()
        *first, (last, norm) = _pairs(block)
        self.first = nn.Sequential(*(fuse(fold(conv, norm), conv, slope=RELU) for conv, norm in first))
        self.last = fuse(fold(last, norm), last, slope=RELU)
        self.shortcut: nn.Module = nn.Identity()
        if isinstance(block.downsample, nn.Sequential):
            conv, norm = block.downsample
            self.shortcut = fuse(fold(cast(nn.Conv2d, conv), norm), cast(nn.Conv2d, conv), slope=NO_ACTIVATION)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w'); `x` may be overwritten."""
        return cast(Tensor, self.last(self.first(x), self.shortcut(x)))


def _pairs(block: BasicBlock | Bottleneck) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Return the convolutions of the residual branch, each with its batch norm."""
    pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    return [*pairs, (block.conv3, block.bn3)] if isinstance(block, Bottleneck) else cast(Any, pairs)


class Head(nn.Module):
    """The criss-cross head. The convolution of the concatenated maps is two that add, so nothing is concatenated."""

    def __init__(self, head: CrissCrossHead, fuse: Fuse, dtype: torch.dtype) -> None:
        super().__init__()
        self.reduce = _conv_norm_relu(head.reduce, fuse)
        self.attention = copy.deepcopy(head.attention).to(dtype)
        for step in self.attention.steps():
            for name in ("query_conv", "key_conv", "value_conv"):
                conv = step.get_submodule(name)
                if isinstance(conv, nn.Conv2d):  # a step that comes again is done
                    setattr(step, name, fuse(filters_of(conv), conv, slope=NO_ACTIVATION))
        self.refine = _conv_norm_relu(head.refine, fuse)
        conv, (weight, bias), slope = _folded(head.fuse)
        channels = conv.in_channels - conv.out_channels
        of_input, of_refined = weight[:, :channels], weight[:, channels:]
        self.fuse_input = fuse(Filters(of_input, torch.zeros_like(bias)), conv, slope=NO_ACTIVATION)
        self.fuse_refined = fuse(Filters(of_refined, bias), conv, slope=slope)
        classifier = cast(nn.Conv2d, head.classify.get_submodule("conv"))
        self.classify = fuse(filters_of(classifier), classifier, slope=NO_ACTIVATION)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> logits (B, K, h, w)."""
        refined = self.refine(self.attention(self.reduce(x)))
        return cast(Tensor, self.classify(self.fuse_refined(refined, self.fuse_input(x))))


def _conv_norm_relu(layer: ConvNormRelu, fuse: Fuse) -> FusedConvolution:
    conv, filters, slope = _folded(layer)
    return fuse(filters, conv, slope=slope)


def _folded(layer: ConvNormRelu) -> tuple[nn.Conv2d, Filters, float]:
    """Return the convolution, its filters with the batch norm, and the slope of the activation."""
    conv, norm, activation = layer
    slope = activation.negative_slope if isinstance(activation, nn.LeakyReLU) else RELU
    return cast(nn.Conv2d, conv), fold(cast(nn.Conv2d, conv), norm), slope
