"""Where a picture lies that is fitted into a crop, ratio kept and middle on middle, as CE2P fits pictures of people.

Whole numbers are the centres of pixels, as in OpenCV's `warpAffine` and in `F.grid_sample` with align_corners=True.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fit:
    """A picture of `size` in a `crop`, both (height, width), of which the crop has two pixels or more along each edge.

    The longer side, as the crop counts, goes from the first to the last pixel of the crop's width, and by the same
    `factor` goes the other; a single pixel fills the crop. The matrix is that of Self-Correction-Human-Parsing
    (`get_affine_transform`) without rotation. Axis 0 are rows, axis 1 columns.
    """

    size: tuple[int, int]
    crop: tuple[int, int]

    @property
    def factor(self) -> float:
        """The pixels of the crop to a pixel of the picture."""
        (height, width), (rows, columns) = self.size, self.crop
        return (columns - 1) / max(width - 1, (height - 1) * columns / rows, 1)

    def in_crop(self, axis: int) -> Tensor:
        """Return where the picture's pixels lie in the crop, float64 on the CPU. They are in it, if on its edge."""
        extent, target = self.size[axis], self.crop[axis]
        # In a crop that is wider than high, the ends of a picture that is higher than wide miss it by half a pixel.
        return ((target - 1) / 2 + _from_middle(extent) * self.factor).clamp(0, target - 1)

    def in_picture(self, axis: int) -> Tensor:
        """Return where the crop's pixels lie in the picture, or outside of it, float64 on the CPU."""
        return (self.size[axis] - 1) / 2 + _from_middle(self.crop[axis]) / self.factor

    def pixel(self, place: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel (y, x) of the crop next to the pixel `place` (y, x) of the picture."""
        y, x = (round(self.in_crop(axis)[index].item()) for axis, index in enumerate(place))
        return y, x


def _from_middle(extent: int) -> Tensor:
    # Not every device has float64.
    return torch.arange(extent, dtype=torch.float64, device="cpu") - (extent - 1) / 2
