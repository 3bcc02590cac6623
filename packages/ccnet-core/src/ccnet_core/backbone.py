"""What every backbone offers to the network, and freezing, which is the same for all."""

from typing import Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ccnet_core.checks import is_whole, require


class Backbone(nn.Module):
    """A network from a normalised picture to feature maps.

    `channels` are those of each feature map, `stride` is how many pixels a cell of the last one stands for.
    """

    channels: list[int]
    stride: int

    def __init__(self) -> None:
        super().__init__()
        self.frozen_stages: int | None = None
        self.frozen_batch_norm = False

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised -> feature maps (B, channels[i], h_i, w_i)."""
        raise NotImplementedError

    def parts(self) -> list[nn.Module]:
        """Return what comes before the first stage, and each stage."""
        raise NotImplementedError

    def checkpoint_activations(self, enabled: bool) -> None:
        """Prepare for :meth:`ccnet_core.CCNet.checkpoint_activations`; `Checkpointed` modules need nothing."""

    def freeze(self, *, stages: int | None, batch_norm: bool) -> None:
        """Keep the stem and the first `stages` stages, and all running statistics; see :meth:`CCNet.freeze`."""
        count = len(self.parts()) - 1
        known = stages is None or (is_whole(stages) and 0 <= stages <= count)
        require(known, f"stages must be from 0 to {count}, the stages of this backbone, got {stages!r}")
        self.frozen_stages, self.frozen_batch_norm = stages, batch_norm
        self.requires_grad_(True)
        for part in self._frozen_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything that is not frozen."""
        super().train(mode)
        norms = (module for module in self.modules() if isinstance(module, _BatchNorm))
        for module in (*self._frozen_parts(), *(norms if self.frozen_batch_norm else ())):
            module.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        return [] if self.frozen_stages is None else self.parts()[: self.frozen_stages + 1]
