"""Cross-entropy over hard pixels only: online hard example mining (OHEM).

Shape letters: B batch, K classes, H and W size of the picture, h and w of the map that is an eighth of it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ccnet_core.checks import is_whole, require
from ccnet_core.losses.cross_entropy import CrossEntropy
from ccnet_core.losses.zoom import ZoomedAxis, zoomed_axis

FACTOR = 8
"""How many times smaller than the picture is the map on which the authors find their threshold."""


class OhemCrossEntropy(CrossEntropy):
    """Cross-entropy over the hard pixels: those whose own class has a low probability.

    `rule` names one of two definitions:

    - "mmseg" (mmsegmentation's OHEMPixelSampler): a pixel is hard if its probability is below `threshold`, or below
      the one at place B * `min_kept` in ascending order, whichever is larger; where fewer pixels are counted, their
      largest probability takes that place. With `threshold` None the B * `min_kept` pixels of largest loss are
      hard, of equal ones the first. The sum is divided as in :class:`CrossEntropy`, whether a pixel is hard or not:
      `average` "all" (the default) or "counted".
    - "authors" (speedinghzl/CCNet): the probabilities are reduced by 8 with scipy.ndimage.zoom's rule; a pixel is
      hard if its probability is at most `threshold` or at most the (`min_kept` // 64)-th smallest one of that map,
      whichever is larger; every pixel is hard if the map counts no more than `min_kept` // 64 of them. The sum is
      divided by the hard pixels, with class weights by the sum of their weights; `average` stays None.

    `threshold` is from 0 to 1. If no pixel is hard, all are ignored, or the batch is empty, the loss is 0 with
    gradient 0. NaN logits of a counted pixel make the loss NaN, as in torch and mmsegmentation; the authors' code
    drops such a pixel. `ignore_index`, `class_weights` and errors as for :class:`CrossEntropy`; ConfigError also for
    another `rule`, a `threshold` out of range, a negative `min_kept`, and an `average` that the rule does not know.
    """

    def __init__(
        self,
        threshold: float | None = 0.7,
        min_kept: int = 100_000,
        rule: Literal["mmseg", "authors"] = "mmseg",
        *,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        average: Literal["counted", "all"] | None = None,
    ) -> None:
        require(rule in ("mmseg", "authors"), f"rule must be 'mmseg' or 'authors', got {rule!r}")
        require(is_whole(min_kept) and min_kept >= 0, f"min_kept must be a whole number from 0, got {min_kept}")
        if threshold is None:
            require(rule == "mmseg", "threshold None is a choice of rule 'mmseg'; 'authors' needs a number from 0 to 1")
        else:
            require(0 <= threshold <= 1, f"threshold must be from 0 to 1, got {threshold}")
        if rule == "authors":
            require(average is None, f"rule 'authors' divides by the hard pixels; leave out average, got {average!r}")
        super().__init__(
            ignore_index=ignore_index,
            class_weights=class_weights,
            average=average or ("all" if rule == "mmseg" else "counted"),
        )
        self.threshold = threshold
        self.min_kept = min_kept
        self.rule = rule

    def forward(self, logits: Tensor, labels: Tensor, divisor: Tensor | None = None) -> Tensor:
        """`logits` (B, K, H, W), `labels` (B, H, W) of any integer type -> scalar, float32 (float64 for float64).

        Which pixels are hard depends on the whole batch, so there is no `divisor` for a part: ConfigError.
        """
        require(divisor is None, "the hard pixels of a part are not those of the whole batch; leave out divisor")
        log_probabilities, labels = self._prepared(logits, labels)
        losses, weights = self._losses(log_probabilities, labels), self._weights(labels)
        if self.rule == "authors":
            limit = self._authors_limit(log_probabilities.detach(), labels)
            return self._averaged(losses, weights * (_probabilities(losses) <= limit))
        if self.threshold is None:
            return self._averaged(losses * self._largest(losses.detach() * weights, labels), weights)
        limit = self._mmseg_limit(_probabilities(losses), labels, self.threshold)
        return self._averaged(losses * (_probabilities(losses) < limit), weights)

    def _mmseg_limit(self, probabilities: Tensor, labels: Tensor, threshold: float) -> Tensor:
        """Return the probability (1,) below which a pixel is hard."""
        counted = labels != self.ignore_index
        ordered = probabilities.masked_fill(~counted, torch.inf).flatten().sort().values
        place = (counted.sum() - 1).clamp(min=0, max=labels.shape[0] * self.min_kept)
        # One more at the end, for an empty batch.
        return F.pad(ordered, (0, 1)).index_select(0, place[None]).clamp(min=threshold)

    def _largest(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return where the B * `min_kept` largest losses are, bool (B, H, W)."""
        ranked = losses.masked_fill(labels == self.ignore_index, -torch.inf).flatten()
        order = ranked.argsort(descending=True, stable=True)
        hard = torch.zeros_like(ranked, dtype=torch.bool).index_fill(0, order[: labels.shape[0] * self.min_kept], True)
        return hard.view_as(losses)

    def _authors_limit(self, log_probabilities: Tensor, labels: Tensor) -> Tensor:
        """Return the probability (scalar) up to which a pixel is hard, found on the reduced map."""
        assert self.threshold is not None
        probabilities, counted = _reduced(log_probabilities, labels, self.ignore_index)
        ordered = probabilities.masked_fill(~counted, torch.inf).flatten().sort().values
        kept = self.min_kept // FACTOR**2
        # Entry k is the k-th smallest probability, and 0 if k is 0.
        smallest = F.pad(ordered, (1, 0))[min(kept, ordered.numel())]
        return torch.where(counted.sum() > kept, smallest.clamp(min=self.threshold), torch.inf)


def _probabilities(losses: Tensor) -> Tensor:
    """Return the probability of each pixel's own class (B, H, W), 1 where ignored; no gradient."""
    return losses.detach().neg().exp()


def _reduced(log_probabilities: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the probability of the reduced label at each point (B, h, w), and which points are counted."""
    rows, columns = (zoomed_axis(size, FACTOR, labels.device) for size in labels.shape[1:])
    outside = rows.outside[:, None] | columns.outside
    reduced = labels[:, rows.nearest[:, None], columns.nearest].masked_fill(outside, 0)
    counted = reduced != ignore_index
    probabilities = _interpolated(log_probabilities, torch.where(counted, reduced, 0), rows, columns)
    return probabilities.masked_fill(outside, 0), counted


def _interpolated(log_probabilities: Tensor, classes: Tensor, rows: ZoomedAxis, columns: ZoomedAxis) -> Tensor:
    """Return the probabilities (B, h, w) of `classes` (B, h, w), interpolated between the four positions around."""
    batch = torch.arange(len(classes), device=classes.device)[:, None, None]

    def at(y: Tensor, x: Tensor) -> Tensor:
        return log_probabilities[batch, classes, y[:, None], x].exp()

    right, down = (axis.fraction.to(log_probabilities.dtype) for axis in (columns, rows))
    above = torch.lerp(at(rows.lower, columns.lower), at(rows.lower, columns.upper), right)
    below = torch.lerp(at(rows.upper, columns.lower), at(rows.upper, columns.upper), right)
    return torch.lerp(above, below, down[:, None])
