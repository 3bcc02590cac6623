"""The category consistent loss of the TPAMI paper: features of a class near their mean, the means far apart.

Shape letters: B batch, C channels, h and w size of the features, H and W of the labels, N = B * h * w, K classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.checks import require, require_sizes
from ccnet_core.errors import CCNetError
from ccnet_core.losses.cross_entropy import label_error, require_integers


class CategoryConsistentLoss(nn.Module):
    """Pull the features of each class to their mean, push the means of different classes apart.

    With the pixels of the whole batch that are not `ignore_index`, and the classes present among them:

    - variance: mean over classes of the mean over their pixels of phi(d), d the distance to the class mean; phi is 0
      up to `variance_margin`, from there (d - variance_margin)^2, and beyond `distance_margin` a straight line;
    - distance: mean over ordered pairs of classes of max(0, 2 * `distance_margin` - distance of their means)^2;
    - regulariser: mean over classes of the length of their mean.

    The loss is their sum with `variance_weight`, `distance_weight` and `regulariser_weight`. One class gives no
    distance term; no class (all pixels ignored, or an empty batch or map) gives 0 with gradient 0. A distance of 0 has
    gradient 0. NaN and infinite features of counted pixels make the loss NaN. Labels run from 0 to `num_classes` - 1,
    by default all that 8 bits can hold. Several processes each take their own batch. On CUDA the sums over a class are
    bit-reproducible only under `torch.use_deterministic_algorithms(True)`.

    Raises ConfigError for margins that do not rise from 0 and for negative weights, CCNetError if features and labels
    do not fit together and, on the CPU, for other labels; on CUDA these are torch's own errors. Source:
    arXiv 1811.11721v2, "Learning Category Consistent Features".
    """

    def __init__(
        self,
        *,
        variance_margin: float = 0.5,
        distance_margin: float = 1.5,
        variance_weight: float = 1.0,
        distance_weight: float = 1.0,
        regulariser_weight: float = 0.001,
        num_classes: int = 256,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        require(
            0 <= variance_margin <= distance_margin < math.inf,
            f"expected 0 <= variance_margin <= distance_margin, got {variance_margin} and {distance_margin}",
        )
        weights = (variance_weight, distance_weight, regulariser_weight)
        fit = all(0 <= weight < math.inf for weight in weights)
        require(fit, f"the weights of variance, distance and regulariser must be numbers from 0, got {weights}")
        require_sizes(num_classes=(num_classes,))
        self.variance_margin = variance_margin
        self.distance_margin = distance_margin
        self.variance_weight = variance_weight
        self.distance_weight = distance_weight
        self.regulariser_weight = regulariser_weight
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """`features` (B, C, h, w), `labels` (B, H, W) of any integer type -> scalar, float32 (float64 for float64).

        Larger labels are reduced to h x w by torch's "nearest": with stride 8 a feature takes the label of the pixel
        at the centre of its receptive field, 8 times its own position.
        """
        pixels, index, counted = self._pixels(features, labels)
        try:
            counts = pixels.new_zeros(self.num_classes).index_add(0, index, counted.to(pixels.dtype))
        except IndexError as error:
            raise label_error(self.num_classes, self.ignore_index) from error
        sums = pixels.new_zeros(self.num_classes, pixels.shape[1]).index_add(0, index, pixels)
        means = sums / counts.clamp(min=1)[:, None]
        present = counts > 0
        classes = present.sum().clamp(min=1)
        distances = _length(means.index_select(0, index) - pixels)
        variance = (self._pull(distances) * counted / counts.clamp(min=1)[index]).sum() / classes
        distance = self._push(means, present).sum() / (classes * (classes - 1)).clamp(min=1)
        regulariser = _length(means).sum() / classes
        return self.variance_weight * variance + self.distance_weight * distance + self.regulariser_weight * regulariser

    def _pixels(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features (N, C) in at least float32, classes (N,) int64, and which pixels are counted (N,) bool.

        Features and class of the pixels that are not counted are 0.
        """
        _require_fit(features, labels)
        size = (features.shape[2], features.shape[3])
        if 0 in size:  # which torch's interpolation refuses
            reduced = labels.new_empty(0, dtype=torch.int64)
        else:
            reduced = F.interpolate(labels[:, None].float(), size, mode="nearest").long().flatten()
        counted = reduced != self.ignore_index
        wide = features.to(torch.promote_types(features.dtype, torch.float32)).movedim(1, -1).flatten(0, 2)
        # Selected, not multiplied: NaN at an ignored pixel stays there.
        return torch.where(counted[:, None], wide, 0), torch.where(counted, reduced, 0), counted

    def _pull(self, distances: Tensor) -> Tensor:
        """Return phi(d) for distances of any shape."""
        near, far = self.variance_margin, self.distance_margin
        square = (distances - near).clamp(min=0).square()
        return torch.where(distances > far, distances - far + (far - near) ** 2, square)

    def _push(self, means: Tensor, present: Tensor) -> Tensor:
        """Return the squared shortfall of every ordered pair of present classes (K, K), 0 elsewhere."""
        # Differences, not a matrix product: exact where two means are close.
        distances = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
        pairs = (present[:, None] & present).fill_diagonal_(False)
        shortfall = (2 * self.distance_margin - distances).clamp(min=0)
        return torch.where(pairs, shortfall.square(), 0)


def _length(vectors: Tensor) -> Tensor:
    """Return the Euclidean length along the last axis; its gradient at 0 is 0."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return length


def _require_fit(features: Tensor, labels: Tensor) -> None:
    require_integers(labels)
    fits = features.ndim == 4 and labels.ndim == 3 and len(features) == len(labels)
    if not fits or labels.shape[1] < features.shape[2] or labels.shape[2] < features.shape[3]:
        raise CCNetError(
            f"Expected features (B, C, h, w) and labels (B, H, W) of the same or a larger size, got features "
            f"{tuple(features.shape)} and labels {tuple(labels.shape)}."
        )
