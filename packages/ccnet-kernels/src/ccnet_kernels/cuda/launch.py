"""How the kernels are launched: grid sizes, and the way from a tensor to an argument of Numba.

`forward` and `backward` take arrays of shape (B, channels, P) or (B, P), P = height * width: device arrays on CUDA,
NumPy arrays in Numba's simulator. Every output may hold anything before; every element of it is written.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numba import cuda

from ccnet_kernels.cuda import backward as backward_kernels
from ccnet_kernels.cuda import forward as forward_kernels
from ccnet_kernels.cuda.crisscross import GROUPS, LANES, TILE_HEIGHT, TILE_WIDTH

BLOCK = (LANES, GROUPS)
DOT_BLOCK = 256

# A map of few pixels has few blocks: nothing a user could change, so Numba need not warn of it.
warnings.filterwarnings("ignore", message="Grid size .* will likely result in GPU under-utilization")


@functools.cache
def compiled(kernel: Any) -> Any:
    """Return the kernel as Numba's dispatcher, which compiles at its first launch."""
    return cuda.jit(kernel)


def on_tensors(launch: Callable[..., None], tensors: Sequence[torch.Tensor]) -> None:
    """Call `forward` or `backward` with contiguous maps (B, ..., H, W), on their device and torch's current stream."""
    height, width = tensors[0].shape[-2:]
    with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]
        arrays = [_array_of(tensor) for tensor in tensors]
        launch(*arrays, height=height, width=width, stream=_stream_of(tensors[0]))


def _array_of(tensor: torch.Tensor) -> Any:
    """Return a view with H and W flattened, without copying.

    Numba would take a tensor as it is, but through DLPack, which may wait for another stream.
    """
    flat = tensor.detach().flatten(-2)
    return cuda.as_cuda_array(flat) if tensor.is_cuda else flat.numpy()


def _stream_of(tensor: torch.Tensor) -> Any:
    """Return torch's current stream as Numba's.

    Asked at every call: with a remembered stream, a CUDA graph would be captured empty.
    """
    handle = torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0
    return cuda.external_stream(handle) if handle else 0


def forward(
    query: Any, key: Any, value: Any, attended: Any, log_sums: Any, *, height: int, width: int, stream: Any
) -> None:
    """Fill attended (B, C, P) and log_sums (B, P) from query and key (B, D, P) and value (B, C, P)."""
    grid = _tiles(height, width) * query.shape[0]
    compiled(forward_kernels.log_sum_exp)[grid, BLOCK, stream](query, key, log_sums, height, width)
    kernel = compiled(forward_kernels.weighted_sum)
    grid = _chunked_grid(value, forward_kernels.CHUNK, height, width)
    kernel[grid, BLOCK, stream](query, key, value, log_sums, attended, height, width, False)


def backward(
    gradient: Any,
    query: Any,
    key: Any,
    value: Any,
    attended: Any,
    log_sums: Any,
    delta: Any,
    query_gradient: Any,
    key_gradient: Any,
    value_gradient: Any,
    *,
    height: int,
    width: int,
    stream: Any,
) -> None:
    """Fill delta (B, P) and the three gradients from the gradient of attended and what `forward` read and wrote."""
    pixels = log_sums.shape[0] * log_sums.shape[1]
    kernel = compiled(backward_kernels.channel_dot)
    kernel[-(-pixels // DOT_BLOCK), DOT_BLOCK, stream](gradient, attended, delta)

    kernel = compiled(forward_kernels.weighted_sum)
    grid = _chunked_grid(value, forward_kernels.CHUNK, height, width)
    kernel[grid, BLOCK, stream](key, query, gradient, log_sums, value_gradient, height, width, True)

    kernel = compiled(backward_kernels.energy_gradient)
    launch = kernel[_chunked_grid(query, backward_kernels.CHUNK, height, width), BLOCK, stream]
    launch(query, key, gradient, value, log_sums, delta, query_gradient, height, width, False)
    launch(key, query, value, gradient, log_sums, delta, key_gradient, height, width, True)


def _tiles(height: int, width: int) -> int:
    return -(-height // TILE_HEIGHT) * -(-width // TILE_WIDTH)


def _chunked_grid(maps: Any, chunk: int, height: int, width: int) -> int:
    """Return the number of blocks for maps (B, channels, P): tiles, times chunks of channels, times B."""
    batch, channels, _ = maps.shape
    return int(batch * -(-channels // chunk) * _tiles(height, width))
