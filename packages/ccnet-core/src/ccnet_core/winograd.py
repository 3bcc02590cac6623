"""3x3 convolutions by Winograd's F(4x4, 3x3): 36 products for 16 results instead of 144 (Lavin and Gray, 2016).

A tile of 6x6 pixels and a filter are evaluated as polynomials at five points and infinity, multiplied there, and
interpolated to 4x4 results. The products of all tiles are 36 matrix products over the channels. With dilation d the map
is d * d interleaved maps, each convolved by itself.

The points are 0, 3/4, -3/4, 3/2, -3/2: of the choices tried the one that rounds least in float32, about seven times the
rounding of a direct convolution. `benchmarks/NOTES.md` has the figures.

inf and NaN spread to all results of a tile.

Shape letters: B batch, C input and K output channels, N tiles.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TILE = 4
"""Edge of the results of one tile; it reads two more pixels."""
TILES_AT_ONCE = 128
"""A strip of rows has about so many tiles: what is computed of them stays small, and matrix products stay efficient."""
CHANNELS_AT_ONCE = 256
"""The input channels whose transformed filters are held at one time: 19 MB for 512 output channels in float32."""


@torch.library.custom_op("ccnet_core::winograd", mutates_args=())
def convolve(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Return the convolution (B, K, H, W) of `x` (B, C, H, W), padded to keep its size, in channels last.

    `weight` is (3, 3, C, K), `bias` (K); both have the dtype of `x`. Filters are transformed at every call, some
    channels at a time, as they would take four times their memory if they were kept. An operator of its own, which a
    compiler calls and does not look into.
    """
    output = bias.repeat(len(x), *x.shape[2:], 1)
    parts = (torch.split(tensor, CHANNELS_AT_ONCE, axis) for tensor, axis in ((x, 1), (weight, 2)))
    for part, of_part in zip(*parts, strict=True):
        _add_convolution(output, part.permute(0, 2, 3, 1), of_part, dilation)
    return output.permute(0, 3, 1, 2)


@convolve.register_fake
def _shape_of_result(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:  # noqa: ARG001
    return x.new_empty(len(x), *x.shape[2:], len(bias)).permute(0, 3, 1, 2)


def _add_convolution(output: Tensor, x: Tensor, weight: Tensor, dilation: int) -> None:
    """Add to `output` (B, H, W, K) the convolution of `x` (B, H, W, C), in strips of rows."""
    of_tiles, of_products, of_filters = (matrix.to(x) for matrix in _transforms())
    filters = (of_filters @ weight.reshape(9, -1)).view(len(of_tiles), *weight.shape[2:])
    batch, height, width, channels = x.shape
    edge = TILE * dilation
    across = -(-width // edge)
    step = edge * max(1, TILES_AT_ONCE // (batch * across * dilation * dilation))
    for start in range(0, height, step):
        strip = output[:, start : start + step]
        tiles = _tiles(x, start, -(-strip.shape[1] // edge), across, dilation)
        products = torch.bmm((of_tiles @ tiles).view(len(tiles), -1, channels), filters)
        results = (of_products @ products.flatten(1)).view(
            TILE, TILE, batch, -1, dilation, across, dilation, strip.shape[3]
        )
        rows = results.permute(2, 3, 0, 4, 5, 1, 6, 7).reshape(batch, -1, across * edge, strip.shape[3])
        strip += rows[:, : strip.shape[1], :width]


def _tiles(x: Tensor, start: int, down: int, across: int, dilation: int) -> Tensor:
    """Return the pixels (36, N * C) of the tiles of `x` (B, H, W, C) in `down` rows of tiles from row `start`."""
    batch, height, width, channels = x.shape
    edge = TILE * dilation
    first, last = start - dilation, start + down * edge + dilation
    inside = x[:, max(first, 0) : min(last, height)]
    padded = F.pad(inside, (0, 0, dilation, across * edge + dilation - width, max(-first, 0), max(last - height, 0)))
    padded = padded.contiguous()
    of_picture, of_row, of_pixel, _ = padded.stride()
    shape = (TILE + 2, TILE + 2, batch, down, dilation, across, dilation, channels)
    strides = (dilation * of_row, dilation * of_pixel, of_picture, edge * of_row, of_row, edge * of_pixel, of_pixel, 1)
    return padded.as_strided(shape, strides).reshape((TILE + 2) ** 2, -1)


@functools.cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Return, in float64, the matrices of tiles (36, 36), of products (16, 36) and of filters (36, 9)."""
    matrices = torch.linalg.inv(_powers(TILE + 2)).T, _powers(TILE).T, _powers(3)
    of_tiles, of_products, of_filters = (torch.kron(matrix, matrix) for matrix in matrices)
    return of_tiles, of_products, of_filters


def _powers(count: int) -> Tensor:
    """Return what evaluates a polynomial of `count` coefficients at `POINTS` and infinity: (6, count)."""
    points = torch.tensor(POINTS, dtype=torch.float64, device="cpu")
    infinity = F.one_hot(torch.tensor([count - 1], device="cpu"), count).double()
    return torch.cat([points[:, None] ** torch.arange(count, device="cpu"), infinity])
