"""Whether a file answers as the network does, found by running both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ccnet_core.errors import ExportError
from ccnet_core.export.graph import Deployed

TOLERANCE = 1e-4
"""How far a logit may be from the network's, as a part of the largest logit."""

SHAPES = ((2, 64, 64), (1, 65, 97), (2, 129, 80))
"""Batch, height and width of the pictures with which a file of any size is tried."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was found on pictures of `shapes`, (batch, height, width) each.

    `largest_difference` is that of two logits, `largest_logit` the network's largest absolute one, `equal_labels` the
    part of all pixels with the same label, from 0 to 1. Labels that differ have scores that differ by no more than
    rounding.
    """

    shapes: tuple[tuple[int, int, int], ...]
    largest_difference: float
    largest_logit: float
    equal_labels: float

    def __str__(self) -> str:
        """Return one line."""
        sizes = ", ".join("x".join(map(str, shape)) for shape in self.shapes)
        difference = f"logits differ by at most {self.largest_difference:.1e} (largest logit {self.largest_logit:.1f})"
        return f"{difference}, {self.equal_labels:.4%} of labels are equal (batch x height x width: {sizes})"


def require_agreement(
    deployed: Deployed, run: Callable[[Tensor], Sequence[Tensor]], shapes: Sequence[tuple[int, int, int]]
) -> Agreement:
    """Compare `run`, which gives the outputs of `deployed` from a file, with the network on pictures of `shapes`.

    Raises ExportError if a shape or a type differs, a logit by more than `TOLERANCE`, or a label where rounding is not
    the reason.
    """
    differences, logits, equal = [], [], []
    for shape in shapes:
        image = picture(*shape)
        with torch.inference_mode():
            expected = deployed.network(image, auxiliary=False).logits
            found = dict(zip(deployed.output_names, run(image), strict=True))
            labels = found.get("labels", deployed.labels(found["logits"], image))
            equal.append(_compare(deployed, image, expected, found["logits"], labels))
        differences.append(float((found["logits"] - expected).abs().max()))
        logits.append(float(expected.abs().max()))
    return Agreement(
        shapes=tuple(shapes),
        largest_difference=max(differences),
        largest_logit=max(logits),
        equal_labels=float(torch.cat(equal).double().mean()),
    )


def picture(batch: int, height: int, width: int) -> Tensor:
    """Return pictures with regions and noise, uint8 (B, 3, H, W), the same each time."""
    generator = torch.Generator().manual_seed(height * width)
    regions = F.interpolate(torch.rand(batch, 3, 5, 7, generator=generator), (height, width), mode="bilinear")
    noise = torch.rand(batch, 3, height, width, generator=generator)
    return ((0.8 * regions + 0.2 * noise) * 255).to(torch.uint8)


def _compare(deployed: Deployed, image: Tensor, expected: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return where the labels are equal, flat; raise if they, or the logits, are wrong."""
    size = "x".join(map(str, image.shape))
    own = deployed.labels(expected, image)
    for name, got, wanted in (("logits", logits, expected), ("labels", labels, own)):
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            kinds = f"{got.dtype} {tuple(got.shape)} instead of {wanted.dtype} {tuple(wanted.shape)}"
            raise ExportError(f"The file gives {name} {kinds} for pictures {size}. {WRONG}")
    bound = TOLERANCE * float(expected.abs().max())
    difference = float((logits - expected).abs().max())
    if not difference <= bound:  # also where it is not a number
        raise ExportError(
            f"The file's logits differ by {difference:.1e} for pictures {size}, {bound:.1e} at most. {WRONG}"
        )
    scores = deployed.scores(expected, image)
    lost = scores.amax(1) - scores.gather(1, labels.long()[:, None])[:, 0]
    if float(lost.max()) > 2 * bound:
        raise ExportError(f"The file's labels have lower scores than the network's for pictures {size}. {WRONG}")
    return (labels == own).flatten()


WRONG = "It was removed, as it would answer wrongly. Try another format, and other versions of torch and its exporters."
