"""Maps of class scores that compute their rows when these are asked for, so that no map is ever held at full size.

Shape letters: B pictures, K classes, H and W size of a map, n rows of it. Classes come last: interpolation, softmax
and argmax then walk through memory in order, in a quarter of the time that (B, K, n, W) takes on a CPU.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ccnet_core.fit import Fit

Blend = Literal["mean", "linear"]


class ScoreMap(Protocol):
    """A map of `shape` (B, H, W, K).

    `row_bytes` is what one of its rows takes, here or in the map that it is made from, whichever is more.
    """

    shape: tuple[int, int, int, int]
    row_bytes: float

    def rows(self, start: int, stop: int) -> Tensor:
        """Return float32 (B, stop - start, W, K). Rows are asked for downwards: `start` never decreases."""
        ...


class Logits:
    """The logits (B, K, H, W) of a network, of any floating dtype."""

    def __init__(self, logits: Tensor) -> None:
        batch, classes, height, width = logits.shape
        self.shape = (batch, height, width, classes)
        self.row_bytes: float = _row_bytes(self.shape)
        self._logits = logits

    def rows(self, start: int, stop: int) -> Tensor:
        """See :class:`ScoreMap`."""
        return self._logits[:, :, start:stop].permute(0, 2, 3, 1).float().contiguous()


class Mirrored:
    """The mirror image of a map, left and right exchanged: the columns, and the two classes of each of `flip_pairs`."""

    def __init__(self, source: ScoreMap, flip_pairs: Sequence[tuple[int, int]] = ()) -> None:
        self.shape, self.row_bytes = source.shape, source.row_bytes
        self._source = source
        self._classes = [index for pair in flip_pairs for index in pair]
        self._partners = [index for pair in flip_pairs for index in reversed(pair)]

    def rows(self, start: int, stop: int) -> Tensor:
        """See :class:`ScoreMap`."""
        mirrored = self._source.rows(start, stop).flip(2)  # a copy, so that it may be written to
        if self._classes:
            mirrored[..., self._classes] = mirrored[..., self._partners]
        return mirrored


class Resized:
    """A map resized to `size`, as `F.interpolate(..., mode="bilinear")` does it."""

    def __init__(self, source: ScoreMap, size: tuple[int, int], align_corners: bool) -> None:
        batch, height, _, classes = source.shape
        self.shape = (batch, *size, classes)
        self.row_bytes = max(_row_bytes(self.shape), source.row_bytes * height / size[0])
        self._source, self._align_corners = source, align_corners
        self._before, self._after, self._weight = _taps(height, size[0], align_corners)

    def rows(self, start: int, stop: int) -> Tensor:
        """See :class:`ScoreMap`."""
        before, after = self._before[start:stop], self._after[start:stop]
        first = int(before[0])
        source = self._source.rows(first, int(after[-1]) + 1)
        mixed = _mixed(source, 1, before - first, after - first, self._weight[start:stop, None, None])
        size = (stop - start, self.shape[2])
        wide = F.interpolate(mixed.permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=self._align_corners)
        return wide.permute(0, 2, 3, 1)


def _taps(extent: int, target: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return, per target row, the source rows before and after it and the weight of the latter.

    The rule of torch (ATen/native/UpSample.h, `area_pixel_compute_source_index`), in float32 as there.
    """
    target_rows = torch.arange(target, dtype=torch.float32, device="cpu")
    if align_corners:
        centre = target_rows * ((extent - 1) / max(1, target - 1))
    else:
        centre = ((target_rows + 0.5) * (extent / target) - 0.5).clamp(min=0)
    return _neighbours(centre, extent)


def _neighbours(centre: Tensor, extent: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the places before and after each `centre`, from 0 to `extent` - 1, and the weight of the latter."""
    before = centre.long().clamp(max=extent - 1)
    return before, (before + 1).clamp(max=extent - 1), (centre - before).float()


class Fitted:
    """What a map of a crop says of the picture of `size` that was fitted into it by :class:`ccnet_core.fit.Fit`."""

    def __init__(self, source: ScoreMap, size: tuple[int, int]) -> None:
        batch, *crop, classes = source.shape
        fit = Fit(size, (crop[0], crop[1]))
        self.shape = (batch, *size, classes)
        self.row_bytes = max(_row_bytes(self.shape), source.row_bytes * max(1, fit.factor))
        self._source = source
        self._rows, self._columns = (_neighbours(fit.in_crop(axis), crop[axis]) for axis in (0, 1))

    def rows(self, start: int, stop: int) -> Tensor:
        """See :class:`ScoreMap`."""
        before, after, weight = (tap[start:stop] for tap in self._rows)
        first = int(before[0])
        source = self._source.rows(first, int(after[-1]) + 1)
        mixed = _mixed(source, 1, before - first, after - first, weight[:, None, None])
        left, right, weight = self._columns
        return _mixed(mixed, 2, left, right, weight[:, None])


def _mixed(source: Tensor, axis: int, before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of two places along `axis`, of which the latter has the `weight`."""
    start, end = (source.index_select(axis, place.to(source.device)) for place in (before, after))
    return torch.lerp(start, end, weight.to(source.device))


class Sliding:
    """The mean of the maps of windows that slide over pictures, by mmsegmentation's rule.

    `crop` and `stride` are (height, width). `read(start, stop)` gives rows of the pictures, (B, 3, n, W), `segment`
    the map of a window of them, on `device`. Windows are segmented when the first of their rows is asked for, and
    forgotten when only rows below them are. `blend` is how much a window counts at a pixel: see :func:`window_weight`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        crop: tuple[int, int],
        stride: tuple[int, int],
        read: Callable[[int, int], Tensor],
        segment: Callable[[Tensor], ScoreMap],
        device: torch.device,
        blend: Blend = "mean",
    ) -> None:
        _, height, width, _ = self.shape = shape
        self.row_bytes: float = _row_bytes(shape)
        self._crop = min(crop[0], height), min(crop[1], width)
        self._weight = window_weight(self._crop, blend).to(device)
        self._tops, self._lefts = window_offsets(height, crop[0], stride[0]), window_offsets(width, crop[1], stride[1])
        self._read, self._segment, self._device = read, segment, device
        self._open: dict[int, list[ScoreMap]] = {}

    def rows(self, start: int, stop: int) -> Tensor:
        """See :class:`ScoreMap`."""
        reached = [top for top in self._tops if top < stop and start < top + self._crop[0]]
        self._open = {top: self._open.get(top) or self._segment_windows(top) for top in reached}
        batch, _, width, classes = self.shape
        total = torch.zeros(batch, stop - start, width, classes, dtype=torch.float32, device=self._device)
        weights = torch.zeros(stop - start, width, 1, dtype=torch.float32, device=self._device)
        for top, windows in self._open.items():
            first, last = max(start, top), min(stop, top + self._crop[0])
            weight = self._weight[first - top : last - top, :, None]
            for left, window in zip(self._lefts, windows, strict=True):
                rows, columns = slice(first - start, last - start), slice(left, left + self._crop[1])
                total[:, rows, columns].addcmul_(window.rows(first - top, last - top), weight)
                weights[rows, columns] += weight
        return total.div_(weights)

    def _segment_windows(self, top: int) -> list[ScoreMap]:
        """Segment the windows side by side whose first row is `top`."""
        pictures = self._read(top, top + self._crop[0])
        return [self._segment(pictures[..., left : left + self._crop[1]]) for left in self._lefts]


def window_weight(crop: tuple[int, int], blend: Blend) -> Tensor:
    """Return how much a window counts at each of its pixels, float32 (height, width).

    "mean" is 1 everywhere. "linear" falls from 1 in the middle to almost 0 at the border along each axis, so that a
    window begins and ends without a step; the weights of the windows over a pixel are divided by their sum.
    """
    if blend == "mean":
        return torch.ones(crop, dtype=torch.float32, device="cpu")
    distances = [torch.arange(extent, dtype=torch.float32, device="cpu") for extent in crop]
    rows, columns = (1 - (2 * distance + 1 - len(distance)).abs() / len(distance) for distance in distances)
    return torch.outer(rows, columns)


def window_offsets(extent: int, crop: int, stride: int) -> list[int]:
    """Return where windows of `crop` pixels begin: every `stride` pixels, the last one shifted inside the picture."""
    count = max(extent - crop + stride - 1, 0) // stride + 1
    return [max(min(index * stride, extent - crop), 0) for index in range(count)]


def _row_bytes(shape: tuple[int, int, int, int]) -> float:
    batch, _, width, classes = shape
    return 4.0 * batch * width * classes
