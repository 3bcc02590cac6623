"""Maps (B, channels, H, W) or (B, channels, T, H, W) in the memory that the kernels read and write.

The pixel kernels take float32 with the channels outside, as torch makes it. The line kernels take half precision with
the channels inside, a multiple of PIECE of them, from an address that 16 divides: they copy 16 bytes at a time. Those
for short lines also take some channels of wider maps.
"""

import math

import torch

PIECE = 8
LARGEST_INDEX = 2**31 - 1
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def fits(maps: torch.Tensor) -> bool:
    """Return whether the kernels can work on these maps where they are."""
    if maps.dtype == torch.float32:
        return maps.is_contiguous()
    whole = maps.shape[1] % PIECE == 0 and maps.data_ptr() % 16 == 0
    return whole and maps.is_contiguous(memory_format=CHANNELS_LAST[maps.ndim])


def pitch_of(maps: torch.Tensor) -> int | None:
    """Return how many numbers lie between half-precision positions that follow one another, None if it is not one step.

    It is at least the number of channels, which lie inside. None also where numbers would be copied that are not
    aligned, or be counted beyond an int32.
    """
    batch, channels, *extent = maps.shape
    found, step = None, 1
    for size, stride in zip((*reversed(extent), batch), (*reversed(maps.stride()[2:]), maps.stride(0)), strict=True):
        if size > 1:
            found = stride // step if found is None else found
            if stride != found * step:
                return None
        step *= size
    pitch = channels if found is None else found
    inside = channels == 1 or maps.stride(1) == 1
    aligned = channels % PIECE == 0 and pitch % PIECE == 0 and maps.data_ptr() % 16 == 0
    near = pitch >= channels and math.prod((batch, *extent)) * pitch <= LARGEST_INDEX
    return pitch if inside and aligned and near and maps.dtype != torch.float32 else None


def packed_apart(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return what the kernels for short lines take: maps with a `pitch_of`, query and key with the same one."""
    query, key, value = (maps if pitch_of(maps) else packed(maps) for maps in (query, key, value))
    if pitch_of(query) != pitch_of(key):
        query, key = packed(query), packed(key)
    return query, key, value


def room_for(maps: torch.Tensor) -> torch.Tensor:
    """Return fresh memory for maps like these, with channels added up to a multiple of PIECE in half precision."""
    if maps.dtype == torch.float32:
        return maps.new_empty(maps.shape)
    batch, channels, *extent = maps.shape
    shape = (batch, -(-channels // PIECE) * PIECE, *extent)
    return torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=CHANNELS_LAST[maps.ndim])


def packed(maps: torch.Tensor) -> torch.Tensor:
    """Return these maps if they fit, else a copy that does. Added channels are 0."""
    if fits(maps):
        return maps
    channels = maps.shape[1]
    copy = room_for(maps)
    copy[:, :channels] = maps
    copy[:, channels:] = 0
    return copy


class Result:
    """Maps that a pass returns, as `torch.empty_like` makes them, and the memory that the kernels write instead."""

    def __init__(self, like: torch.Tensor) -> None:
        self.maps = torch.empty_like(like)
        self.memory = self.maps if fits(self.maps) else room_for(like)

    def unpacked(self) -> torch.Tensor:
        """Return the maps, once the kernels have written."""
        if self.memory is not self.maps:
            self.maps.copy_(self.memory[:, : self.maps.shape[1]])
        return self.maps
