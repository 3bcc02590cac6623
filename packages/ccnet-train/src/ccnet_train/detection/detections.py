"""What a Mask R-CNN learns from, and what it finds."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Target(TypedDict):
    """The N objects of a picture of H x W pixels; N may be 0.

    `boxes` float32 (N, 4) are left, top, right and bottom in pixels, right and bottom exclusive; `classes` int64 (N,)
    from 0; `masks` bool (N, H, W).
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The N objects found in a picture of H x W pixels, the best score first.

    `boxes` float32 (N, 4) are left, top, right and bottom in pixels, `classes` int64 (N,) from 0, `scores` float32 (N,)
    from 0 to 1, `masks` bool (N, H, W).
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Detections":
        """Return those that score at least `threshold`."""
        kept = self.scores >= threshold
        return Detections(
            boxes=self.boxes[kept], classes=self.classes[kept], scores=self.scores[kept], masks=self.masks[kept]
        )
