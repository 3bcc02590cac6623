"""flex_attention with a row-and-column mask, compiled: torch's own compiler writes the kernel.

It leaves out blocks of BLOCK x BLOCK positions in which nobody sees anybody. In the usual order a block of a wide map
holds every column and none could be left out, so positions are taken tile by tile.
"""

import functools
import itertools
import math
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
TILES = {2: (8, 16), 3: (2, 8, 8)}  # positions of a tile along each axis, BLOCK in all
HEAD = 128  # value channels that a generated kernel takes; 512 would not fit into shared memory


def flex_attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return scale * attended + residual, (B, C, *S). On the CPU forward only: flex_attention has no backward there."""
    order, back, mask = _plan(tuple(query.shape[2:]), query.device)
    if query.device.type == "cpu" and not torch.is_grad_enabled():
        query, key, value = (tensor.detach() for tensor in (query, key, value))  # else it refuses them
    queries, keys, values = (tensor.flatten(2).mT[:, None, order] for tensor in (query, key, value))
    width = HEAD if values.shape[-1] % HEAD == 0 else values.shape[-1]
    values = torch.unflatten(values[:, 0], -1, (-1, width)).transpose(1, 2)
    queries, keys = (tensor.expand(-1, values.shape[1], -1, -1) for tensor in (queries, keys))
    attended: torch.Tensor = _compiled()(queries, keys, values, block_mask=mask, scale=1.0)
    return scale * attended.transpose(1, 2).flatten(2)[:, back].mT.reshape(value.shape) + residual


@functools.cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=False)


@functools.lru_cache(maxsize=1)
def _plan(extent: tuple[int, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, BlockMask]:
    """Return which position each place takes, tile by tile, the place of each position, and the mask over places.

    A tile that sticks out has places for nobody: they take position 0 and are left out on the way back.
    """
    tile = TILES[len(extent)]
    padded = [range(-(-size // edge) * edge) for size, edge in zip(extent, tile, strict=True)]
    places = sorted(
        itertools.product(*padded), key=lambda there: [at // edge for at, edge in zip(there, tile, strict=True)]
    )
    axes = torch.tensor(places, device=device)
    inside = (axes < torch.tensor(extent, device=device)).all(1)
    strides = torch.tensor([math.prod(extent[axis + 1 :]) for axis in range(len(extent))], device=device)
    order = torch.where(inside, (axes * strides).sum(1), 0)
    back = torch.empty(math.prod(extent), dtype=torch.int64, device=device)
    back[order[inside]] = inside.nonzero()[:, 0]
    return order, back, _mask(torch.where(inside[:, None], axes, -1))


def _mask(axes: torch.Tensor) -> BlockMask:
    """Return who sees whom of places with coordinates `axes` (places, axes), all -1 for nobody.

    Two positions see each other that differ in at most one coordinate; nobody sees nobody, lest a softmax be empty.
    """
    count = axes.shape[1]
    coordinates = axes.T.contiguous().unbind()

    def seen(_batch: Any, _head: Any, here: Any, there: Any) -> Any:
        alike: Any = sum((axis[here] == axis[there]).int() for axis in coordinates)
        return alike >= count - 1

    fixed = [[other for other in range(count) if other != axis] for axis in range(count)]
    visible = torch.stack([_share_a_line(axes[:, others]) for others in fixed]).any(0)
    counts = visible.sum(1, dtype=torch.int32)[None, None]
    indices = visible.to(torch.int8).argsort(dim=1, descending=True, stable=True).to(torch.int32)[None, None]
    lengths = (len(axes), len(axes))
    return BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=lengths)


def _share_a_line(fixed: torch.Tensor) -> torch.Tensor:
    """Return which blocks have positions with the same `fixed` coordinates (places, axes - 1): (blocks, blocks)."""
    lines, line = torch.unique(fixed, dim=0, return_inverse=True)
    somebody = fixed[:, 0] >= 0
    block = torch.arange(len(fixed), device=fixed.device) // BLOCK
    found = torch.zeros(len(fixed) // BLOCK, len(lines), device=fixed.device)
    found[block[somebody], line[somebody]] = 1
    return found @ found.T > 0
