"""What a Mask R-CNN minimises: torchvision's five losses."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ccnet_train.detection.detections import Target

PARTS = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
"""Whether a place of the picture holds an object, and its first box; class, box and mask of a proposal."""


class DetectionObjective:
    """The sum of the five losses, averaged over the pictures of a step.

    Each is a mean over what torchvision draws from the pictures of a micro-batch, so it depends on how the pictures of
    a step are shared, as in torchvision's own training.
    """

    parts: tuple[str, ...] = PARTS

    def divisors(self, truth: Sequence[Target]) -> Tensor:
        """Return the number of pictures (1,)."""
        return truth[0]["boxes"].new_full((1,), len(truth))

    def losses(
        self,
        network: Any,  # noqa: ARG002  the answer is the losses already
        forward: Callable[..., Any],
        images: Sequence[Tensor],
        truth: Sequence[Target],
        divisors: Tensor,  # noqa: ARG002  micro-batches are of one size
        share: float,
    ) -> Tensor:
        """Return (5,): the losses of `images`, uint8 (3, H, W), with the objects in `truth`, times `share`."""
        found = forward(images, truth)
        return share * torch.stack([found[name] for name in PARTS])
