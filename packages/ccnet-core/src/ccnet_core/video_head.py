"""The head for clips: criss-cross attention along time, rows and columns, and one labelled frame.

Shape letters: B batch, T frames, C channels, K classes, h and w height and width of the feature map.
"""

import torch
from torch import Tensor

from ccnet_core.heads import CrissCrossHead


class VideoHead(CrissCrossHead):
    """The layers of :class:`CrissCrossHead`, with attention over the maps of all frames.

    Every frame is reduced by itself. Only the labelled frame is refined, fused and classified, so what a frame costs
    besides attention can be kept while a video goes on; see :class:`ccnet_core.ClipPredictor`.
    """

    def forward(self, x: Tensor, *, frame: int = -1, consistency: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, T, C, h, w) -> logits (B, K, h, w) of one frame, and its consistency features if asked for."""
        reduced = torch.unflatten(self.reduce(x.flatten(0, 1)), 0, x.shape[:2])
        return self.label(reduced, x[:, frame], frame=frame, consistency=consistency)

    def label(
        self, reduced: Tensor, x: Tensor, *, frame: int = -1, consistency: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return what :meth:`forward` does, from the reduced maps (B, T, C, h, w) and the frame's own (B, C, h, w)."""
        attended = self.attention(reduced.transpose(1, 2))[:, :, frame]
        return self.decide(x, attended, consistency=consistency)
