"""Cross-entropy over pixels.

Shape letters: B batch, K classes, H and W size of the picture.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.checks import require
from ccnet_core.errors import CCNetError


class CrossEntropy(nn.Module):
    """Cross-entropy over pixels, those labelled `ignore_index` left out.

    `class_weights` (K values) multiply each pixel's loss. `average` says what the sum is divided by: "counted", the
    pixels that are not ignored, or with weights the sum of their weights (torch and the authors' code); "all", every
    pixel (mmsegmentation without class weights; with them it divides by the sum of the weights, and fails where a
    pixel is ignored). If no pixel is counted, or the batch is empty, the loss is 0 with gradient 0. NaN and infinite
    logits of counted pixels make the loss NaN or infinite, as in torch.

    Raises ConfigError for another `average`, CCNetError if logits, labels and class weights do not fit together and,
    on the CPU, for labels outside 0 to K - 1; on CUDA these are torch's own errors.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        average: Literal["counted", "all"] = "counted",
    ) -> None:
        super().__init__()
        require(average in ("counted", "all"), f"average must be 'counted' or 'all', got {average!r}")
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights)
        self.ignore_index = ignore_index
        self.average = average

    def forward(self, logits: Tensor, labels: Tensor, divisor: Tensor | None = None) -> Tensor:
        """`logits` (B, K, H, W), `labels` (B, H, W) of any integer type -> scalar, float32 (float64 for float64).

        `divisor`, a scalar, stands in for that of these labels where they are a part of a shared batch: the losses of
        the parts, each divided by the sum of the parts' :meth:`divisor`, add up to that of the whole.
        """
        log_probabilities, labels = self._prepared(logits, labels)
        losses = self._losses(log_probabilities, labels)
        if divisor is None:
            return self._averaged(losses, self._weights(labels))
        weighted = losses if self.class_weights is None else losses * self._weights(labels)
        return _quotient(weighted.sum(), divisor)

    def divisor(self, labels: Tensor) -> Tensor:
        """Return what the sum over `labels` (B, H, W), of any integer type, is divided by: a scalar, float32, or 0."""
        require_integers(labels)
        if self.average == "all":
            return torch.tensor(float(labels.numel()), device=labels.device)
        return self._weights(labels.long()).sum()

    def _prepared(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (B, K, H, W) in at least float32, and labels (B, H, W) int64."""
        if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
            raise CCNetError(
                f"Expected logits (B, K, H, W) and labels (B, H, W) of one size, got logits {tuple(logits.shape)} and "
                f"labels {tuple(labels.shape)}. Resize the logits to the size of the labels."
            )
        require_integers(labels)
        if self.class_weights is not None and self.class_weights.shape != logits.shape[1:2]:
            raise CCNetError(
                f"class_weights have the shape {tuple(self.class_weights.shape)}, the logits {logits.shape[1]} "
                "classes. Give one weight for each class."
            )
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return wide.log_softmax(1), labels.long()

    def _losses(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each pixel (B, H, W), without class weights, 0 where ignored."""
        try:
            # reduction="sum" is refused on CUDA under torch.use_deterministic_algorithms.
            return F.nll_loss(log_probabilities, labels, ignore_index=self.ignore_index, reduction="none")
        except IndexError as error:
            raise label_error(log_probabilities.shape[1], self.ignore_index) from error

    def _weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each pixel (B, H, W), 0 where ignored."""
        counted = labels != self.ignore_index
        if self.class_weights is None:
            return counted.float()
        try:
            return self.class_weights[torch.where(counted, labels, 0)] * counted
        except IndexError as error:
            raise label_error(len(self.class_weights), self.ignore_index) from error

    def _averaged(self, losses: Tensor, weights: Tensor) -> Tensor:
        total = (losses * weights).sum()
        if self.average == "all":
            return total / max(weights.numel(), 1)
        return _quotient(total, weights.sum())


def _quotient(total: Tensor, divisor: Tensor) -> Tensor:
    return total / torch.where(divisor > 0, divisor, 1).to(total.dtype)


def require_integers(labels: Tensor) -> None:
    """Raise CCNetError unless `labels` are of an integer type."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise CCNetError(f"Expected labels of an integer type, got {labels.dtype}.")


def label_error(num_classes: int, ignore_index: int) -> CCNetError:
    """Return the error for labels that are no class."""
    return CCNetError(f"Expected labels from 0 to {num_classes - 1}, or {ignore_index} where ignored; got others.")
