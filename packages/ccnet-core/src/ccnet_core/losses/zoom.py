"""The points that `scipy.ndimage.zoom(map, 1 / factor)` looks at, to the last bit of its float64 positions.

The authors find their OHEM threshold on maps that were reduced this way (speedinghzl/CCNet, loss/loss.py).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ZoomedAxis(NamedTuple):
    """One axis of the reduced map; every tensor has one entry per point of it."""

    lower: Tensor
    """int64, the position before the point."""
    upper: Tensor
    """int64, the position after the point."""
    fraction: Tensor
    """float32, the share of `upper` when interpolating (order 1)."""
    nearest: Tensor
    """int64, the nearest position (order 0)."""
    outside: Tensor
    """bool, where scipy's rounding steps over the last position and the result is 0, as for 256 points."""


def zoomed_axis(size: int, factor: int, device: torch.device) -> ZoomedAxis:
    """Return the points of an axis of `size` positions, reduced to `round(size / factor)` (half to even)."""
    length = round(size / factor)
    step = (size - 1) / (length - 1) if length > 1 else 0.0
    positions = [index * step for index in range(length)]
    lower = [int(position) for position in positions]
    return ZoomedAxis(
        lower=torch.tensor(lower, dtype=torch.int64, device=device),
        upper=torch.tensor([min(index + 1, size - 1) for index in lower], dtype=torch.int64, device=device),
        fraction=torch.tensor([position % 1 for position in positions], dtype=torch.float32, device=device),
        nearest=torch.tensor([int(position + 0.5) for position in positions], dtype=torch.int64, device=device),
        outside=torch.tensor([position > size - 1 for position in positions], dtype=torch.bool, device=device),
    )
