"""The head of CE2P for inference: no map is concatenated, and maps are convolved before they are enlarged.

Shape letters: B batch, C_i channels of stage i, K classes, h and w size of stage 1's map.
"""

import functools
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.folded_head import NO_ACTIVATION, Context, Fuse, classifier, conv_norm_relu, folded
from ccnet_core.folding import Filters
from ccnet_core.heads import ConvNormRelu
from ccnet_core.parsing_head import ParsingHead


class FoldedParsingHead(nn.Module):
    """The second prediction of :class:`ParsingHead`."""

    def __init__(self, head: ParsingHead, fuse: Fuse, dtype: torch.dtype) -> None:
        super().__init__()
        self.context = Context(head, fuse, dtype)
        self.narrow = conv_norm_relu(head.narrow, fuse)
        self.detail = conv_norm_relu(head.detail, fuse)
        meet, decode = (cast(ConvNormRelu, layer) for layer in head.decode)
        self.meet = MeetingConvolution(meet, 1, fuse, align_corners=head.align_corners)
        self.decode = conv_norm_relu(decode, fuse)
        self.edges = nn.ModuleList(conv_norm_relu(cast(ConvNormRelu, edge), fuse) for edge in head.edges)
        self.join = MeetingConvolution(head.join, len(head.edges), fuse, align_corners=head.align_corners)
        self.classify = classifier(head.classify, fuse)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Four maps (B, C_i, h_i, w_i) -> logits (B, K, h, w)."""
        context = self.narrow(self.context(stages[-1]))
        decoded = self.decode(self.meet([self.detail(stages[0]), context]))
        edges = [edge(stage) for edge, stage in zip(self.edges, stages, strict=False)]
        return cast(Tensor, self.classify(self.join([decoded, *edges])))


class MeetingConvolution(nn.Module):
    """`layer`, 1x1, of a map and `others`, enlarged to its size, each with as many channels as the layer gives.

    Every map is convolved at its own size by its part of the filters, and the results are enlarged and added. That is
    the same: a 1x1 convolution without bias and a bilinear mean of pixels may change places.
    """

    def __init__(self, layer: ConvNormRelu, others: int, fuse: Fuse, *, align_corners: bool) -> None:
        super().__init__()
        conv, (weight, bias), slope = folded(layer)
        width = conv.out_channels
        first, *parts = torch.split(weight, [conv.in_channels - others * width, *[width] * others], dim=1)
        none = torch.zeros_like(bias)
        self.first = fuse(Filters(first, bias), conv, slope=slope)
        self.others = nn.ModuleList(fuse(Filters(part, none), conv, slope=NO_ACTIVATION) for part in parts)
        self.align_corners = align_corners

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, ?, h_i, w_i) -> (B, C, h, w), the size of the first."""
        first, *others = maps
        size = first.shape[2:]
        enlarged = [
            F.interpolate(convolve(x), size, mode="bilinear", align_corners=self.align_corners)
            for convolve, x in zip(self.others, others, strict=True)
        ]
        return cast(Tensor, self.first(first, functools.reduce(torch.add, enlarged)))
