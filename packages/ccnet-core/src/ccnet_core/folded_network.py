"""The layers of a CCNet for inference: every batch norm folded, sums and activations inside the convolutions.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

import copy
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ccnet_core.backbone import Backbone
from ccnet_core.folded_head import NO_ACTIVATION, RELU, Fuse, Head
from ccnet_core.folded_parsing import FoldedParsingHead
from ccnet_core.folding import Filters, fold
from ccnet_core.fused_convolution import FusedConvolution, fused_convolution
from ccnet_core.parsing_head import ParsingHead
from ccnet_core.resnet import BasicBlock, Bottleneck, ResNet

if TYPE_CHECKING:
    from ccnet_core.model import CCNet


class FoldedNetwork(nn.Module):
    """Layers one after another, in a forward of their own: of a bare Sequential torch.compile makes a graph a layer."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> logits (B, K, h, w)."""
        return cast(Tensor, self.layers(x))


class FoldedParsingNetwork(nn.Module):
    """The layers of each stage, and a head that takes the map of every one."""

    def __init__(self, stages: Sequence[Sequence[nn.Module]], head: FoldedParsingHead) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> logits (B, K, h, w)."""
        maps = []
        for stage in self.stages:
            x = stage(x)  # which does not write to its input: a stage begins with a convolution of it and a shortcut's
            maps.append(x)
        return cast(Tensor, self.head(maps))


def folded_network(model: "CCNet", *, dtype: torch.dtype, traced: bool) -> nn.Module:
    """Return what takes normalised pictures (B, 3, H, W) of `dtype` to logits (B, K, h, w), on the model's device.

    `traced` is for a compiler. The model is not changed, and shares no tensor with the result.
    """

    def fuse(filters: Filters, like: nn.Conv2d, *, slope: float) -> FusedConvolution:
        return fused_convolution(filters, like, slope=slope, dtype=dtype, traced=traced)

    return _folded_network(model, fuse, dtype).eval().requires_grad_(False)


def _folded_network(model: "CCNet", fuse: Fuse, dtype: torch.dtype) -> nn.Module:
    if not isinstance(model.backbone, ResNet):
        return FoldedNetwork(LastMap(copy.deepcopy(model.backbone).to(dtype)), Head(model.head, fuse, dtype))
    stages = _resnet_stages(model.backbone, fuse)
    if isinstance(model.head, ParsingHead):
        return FoldedParsingNetwork(stages, FoldedParsingHead(model.head, fuse, dtype))
    return FoldedNetwork(*chain.from_iterable(stages), Head(model.head, fuse, dtype))


class LastMap(nn.Module):
    """A backbone as it is, of which the head takes the last feature map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised -> (B, C, h, w)."""
        return cast(Tensor, self.backbone(x.contiguous())[-1].contiguous(memory_format=torch.channels_last))


def _resnet_stages(backbone: ResNet, fuse: Fuse) -> list[list[nn.Module]]:
    """Return the layers of each stage; those of the first begin with the stem."""
    convs, norms = (list(backbone.stem)[first::3] for first in (0, 1))
    pairs = zip(cast(list[nn.Conv2d], convs), norms, strict=True)
    stem = [fuse(fold(conv, norm), conv, slope=RELU) for conv, norm in pairs]
    blocks = [cast(nn.Sequential, backbone.get_submodule(name)) for name in backbone.stages]
    stages: list[list[nn.Module]] = [[ResidualBlock(cast(Any, block), fuse) for block in stage] for stage in blocks]
    return [[*stem, copy.deepcopy(backbone.maxpool), *stages[0]], *stages[1:]]


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
