"""Edges between the parts of people: where they are, and their cross-entropy.

Shape letters: B batch, H and W size of the picture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ccnet_core.errors import CCNetError
from ccnet_core.losses.cross_entropy import CrossEntropy, require_integers


def edge_truth(labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Return where two classes meet: int64 (B, H, W), 1 at an edge, 0 elsewhere, for `labels` (B, H, W) of integers.

    Two neighbours, along a row, a column or a diagonal, of different classes mark one of them: the left one, the lower
    one, the upper one. Then every mark is widened to 3 x 3. A neighbour labelled `ignore_index` marks nothing; the
    pixel itself is 1 where a mark was widened to it, else 0. Raises CCNetError for other labels. Source: CE2P
    (liutinglt/CE2P, dataset/target_generation.py) and Self-Correction-Human-Parsing, which does the same.
    """
    require_integers(labels)
    if labels.ndim != 3:
        raise CCNetError(f"Expected labels (B, H, W), got {tuple(labels.shape)}.")
    marks = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    before, after, every = slice(None, -1), slice(1, None), slice(None)
    for marked, neighbour in (
        ((after, every), (before, every)),
        ((every, before), (every, after)),
        ((before, before), (after, after)),
        ((before, after), (after, before)),
    ):
        one, other = labels[:, *marked], labels[:, *neighbour]
        marks[:, *marked] |= (one != other) & (one != ignore_index) & (other != ignore_index)
    return _widened(marks).long()


class EdgeCrossEntropy(CrossEntropy):
    """Cross-entropy of edges against the other pixels, in which each of the two kinds weighs half.

    It is (mean over edge pixels + mean over other pixels) / 2. CE2P weighs a pixel by the share of the other kind in
    the batch and divides by the sum of the weights, which is the same where both kinds are there. A kind without a
    pixel adds 0, where CE2P has NaN. Pixels whose edge is `ignore_index` are left out. NaN logits make the loss NaN.

    Raises CCNetError if logits and edges do not fit together and, on the CPU, for edges other than 0 and 1; on CUDA
    these are torch's own errors.
    """

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__(ignore_index=ignore_index)

    def forward(self, logits: Tensor, labels: Tensor, divisor: Tensor | None = None) -> Tensor:
        """`logits` (B, 2, H, W), `labels` (B, H, W) as of :func:`edge_truth` -> scalar, float32 or float64.

        `divisor` (2,) stands in for that of these labels where they are a part of a shared batch, as in
        :meth:`CrossEntropy.forward`.
        """
        log_probabilities, labels = self._prepared(logits, labels)
        losses = self._losses(log_probabilities, labels)
        pixels = self.divisor(labels) if divisor is None else divisor
        sums = torch.stack([torch.where(labels == kind, losses, 0).sum() for kind in (0, 1)])
        return (sums / pixels.clamp(min=1).to(sums.dtype)).sum() / 2

    def divisor(self, labels: Tensor) -> Tensor:
        """Return the pixels of `labels` (B, H, W) that are no edge, and those that are one: (2,) int64."""
        require_integers(labels)
        return torch.stack([(labels == kind).sum() for kind in (0, 1)])


def _widened(marks: Tensor) -> Tensor:
    """Return where a mark is within the 3 x 3 pixels around, bool as `marks` (B, H, W)."""
    if marks.numel() == 0:  # which torch's pooling refuses
        return marks
    return F.max_pool2d(marks.float(), 3, stride=1, padding=1) > 0
