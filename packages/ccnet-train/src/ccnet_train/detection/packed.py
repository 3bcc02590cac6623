"""Detections in little memory: of each mask the bits of the part that is not empty. What waits to be written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccnet_train.detection.detections import Detections


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask of `size` (H, W): the `bits` of its rows and columns from the first to the last that is not empty."""

    size: tuple[int, int]
    part: tuple[slice, slice]
    bits: NDArray[np.uint8]

    @classmethod
    def pack(cls, mask: NDArray[np.bool_]) -> "PackedMask":
        """Pack a mask, bool (H, W)."""
        part = _extent(np.any(mask, axis=1)), _extent(np.any(mask, axis=0))
        return cls((mask.shape[0], mask.shape[1]), part, np.packbits(mask[part], axis=1))

    def unpack(self) -> NDArray[np.bool_]:
        """Return the mask, bool (H, W)."""
        mask = np.zeros(self.size, np.bool_)
        columns = self.part[1].stop - self.part[1].start
        mask[self.part] = np.unpackbits(self.bits, axis=1, count=columns)
        return mask


class PackedMasks:
    """Masks of one `size` (H, W). Each, bool (H, W), is made anew when it is asked for."""

    def __init__(self, packed: Sequence[PackedMask], size: tuple[int, int]) -> None:
        self._packed, self._size = packed, size

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, number: int) -> NDArray[np.bool_]:
        return self._packed[number].unpack()

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (mask.unpack() for mask in self._packed)

    def select(self, kept: NDArray[np.bool_]) -> "PackedMasks":
        """Return those where `kept` (N,) is true."""
        return PackedMasks([mask for mask, keep in zip(self._packed, kept, strict=True) if keep], self._size)

    def unpack(self) -> NDArray[np.bool_]:
        """Return all at once, bool (N, H, W)."""
        masks = np.empty((len(self), *self._size), np.bool_)
        for number, mask in enumerate(self):
            masks[number] = mask
        return masks


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedDetections:
    """What :class:`Detections` holds, its `masks` packed."""

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: PackedMasks

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "PackedDetections":
        """Return those that score at least `threshold`."""
        kept = self.scores >= threshold
        arrays: dict[str, Any] = {"boxes": self.boxes[kept], "classes": self.classes[kept], "scores": self.scores[kept]}
        return PackedDetections(**arrays, masks=self.masks.select(kept))

    def unpack(self) -> Detections:
        """Return them with all masks, bool (N, H, W)."""
        return Detections(boxes=self.boxes, classes=self.classes, scores=self.scores, masks=self.masks.unpack())


def _extent(used: NDArray[np.bool_]) -> slice:
    """Return the smallest slice that holds all that is true."""
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
