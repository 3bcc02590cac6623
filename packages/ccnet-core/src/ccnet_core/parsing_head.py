"""The head of CE2P for parsing humans, with recurrent criss-cross attention as its context.

Source: Ruan et al., "Devil in the Details" (AAAI 2019, arXiv:1809.05996), and networks/CE2P.py of liutinglt/CE2P.
Shape letters: B batch, C_i channels of stage i, D `ParsingConfig.channels`, K classes, h and w size of stage 1's map.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.config import BackboneConfig, CCNetConfig
from ccnet_core.heads import Classifier, ConvNormRelu, CrissCrossHead

EDGE_STAGES = 3
"""Edges are looked for in so many stages, the first ones."""

EDGE_CLASSES = 2
"""No edge, edge."""


class ParsingHead(CrissCrossHead):
    """Context of the last stage, detail of the first, and edges of the first three decide together.

    ::

        stage 1     stage 2     stage 3     stage 4
         |   |         |           |           |
         |   |         |           |        reduce, attention R times, refine, fuse: the context
         |   |         |           |           |
         |   |         |           |         narrow
         |  detail     |           |           |
         |   +-------- | --------- | ------> decode ---> classify_first: the first prediction
         |             |           |           |
       edges[0]     edges[1]    edges[2]       |
         +-------------+-----------+--------> join ----> classify: the second prediction, the answer
         |             |           |
         +-- edge_score on each ---+
                       |
                 edge_classify: edges

    All maps are enlarged to the size of stage 1's where they meet, and there they are concatenated. The context is that
    of :class:`CrissCrossHead`. Every layer but the classifiers, and `edge_score` and `edge_classify`, has batch norm
    and the activation of `config.head`; those outside the context see no neighbours but `edge_score`, which is 3x3 and
    the same for the three stages.
    """

    def __init__(self, in_channels: Sequence[int], config: CCNetConfig) -> None:
        super().__init__(in_channels[-1], config.num_classes, config.head)
        assert config.parsing is not None
        assert isinstance(config.backbone, BackboneConfig)
        width, detail, slope = config.parsing.channels, config.parsing.detail_channels, config.head.negative_slope
        self.narrow = ConvNormRelu(config.head.channels, width, 1, negative_slope=slope)
        self.detail = ConvNormRelu(in_channels[0], detail, 1, negative_slope=slope)
        self.decode = nn.Sequential(
            ConvNormRelu(width + detail, width, 1, negative_slope=slope),
            ConvNormRelu(width, width, 1, negative_slope=slope),
        )
        self.classify_first = Classifier(width, config.num_classes, dropout=0.0)
        self.edges = nn.ModuleList(
            ConvNormRelu(channels, width, 1, negative_slope=slope) for channels in in_channels[:EDGE_STAGES]
        )
        self.edge_score = nn.Conv2d(width, EDGE_CLASSES, 3, padding=1)
        self.edge_classify = nn.Conv2d(EDGE_STAGES * EDGE_CLASSES, EDGE_CLASSES, 1)
        self.join = ConvNormRelu((1 + EDGE_STAGES) * width, width, 1, negative_slope=slope)
        self.classify = Classifier(width, config.num_classes, config.head.dropout)  # instead of that of the context
        self.align_corners, self.stride = config.align_corners, 4 * config.backbone.strides[0]

    def forward(  # type: ignore[override]
        self, stages: Sequence[Tensor], *, auxiliary: bool = False
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Four maps (B, C_i, h_i, w_i) -> logits (B, K, h, w), and with `auxiliary` what a training loss takes.

        That is the first prediction (B, K, h, w), consistency features (B, consistency_channels, h_4, w_4), if the
        configuration has them, and edge logits (B, 2, h, w); else three times None.
        """
        attended = self.attention(self.reduce(stages[-1]))
        context = self.narrow(self.context(stages[-1], attended))
        decoded = self.decode(self._meet([self.detail(stages[0]), context]))
        edges = [edge(stage) for edge, stage in zip(self.edges, stages, strict=False)]
        logits = self.classify(self.join(self._meet([decoded, *edges])))
        if not auxiliary:
            return logits, None, None, None
        features = None if self.consistency is None else self.consistency(attended)
        edge_logits = self.edge_classify(self._meet([self.edge_score(edge) for edge in edges]))
        return logits, self.classify_first(decoded), features, edge_logits

    def _meet(self, maps: Sequence[Tensor]) -> Tensor:
        """Concatenate maps (B, ?, h_i, w_i), all enlarged to the size of the first."""
        size = maps[0].shape[2:]
        enlarged = (F.interpolate(x, size, mode="bilinear", align_corners=self.align_corners) for x in maps[1:])
        return torch.cat([maps[0], *enlarged], dim=1)

    def keep_answer(self) -> None:
        """See :meth:`CrissCrossHead.keep_answer`."""
        super().keep_answer()
        del self.classify_first, self.edge_score, self.edge_classify
