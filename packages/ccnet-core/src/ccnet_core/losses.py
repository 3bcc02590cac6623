"""Losses for semantic segmentation.

Shape letters: B batch, K classes, H and W size of the picture.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.errors import ConfigError


class CrossEntropy(nn.Module):
    """Cross-entropy over pixels, those labelled `ignore_index` left out.

    `class_weights` (K values) multiply each pixel's loss. `average` says what the sum is divided by: "counted", the
    pixels that are not ignored, or with weights the sum of their weights (torch and the authors' code); "all", every
    pixel (mmsegmentation). If no pixel is counted the loss is 0, with gradient 0. Raises ConfigError for another
    `average`; labels outside 0 to K - 1 and a number of weights other than K are torch's own errors.
    """

    weight: Tensor | None

    def __init__(
        self,
        *,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        average: Literal["counted", "all"] = "counted",
    ) -> None:
        super().__init__()
        if average not in ("counted", "all"):
            raise ConfigError(f"average must be 'counted' or 'all', got {average!r}.")
        weight = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.average = average

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`logits` (B, K, H, W), `labels` (B, H, W) int64 -> scalar, in float32."""
        total = F.cross_entropy(
            logits.float(), labels, weight=self.weight, ignore_index=self.ignore_index, reduction="sum"
        )
        return total / self._denominator(labels)

    def _denominator(self, labels: Tensor) -> Tensor | int:
        if self.average == "all":
            return labels.numel()
        counted = labels != self.ignore_index
        if self.weight is None:
            return counted.sum().clamp(min=1)
        weights = self.weight[torch.where(counted, labels, 0)]
        total = (weights * counted).sum()
        return torch.where(total > 0, total, torch.ones_like(total))
