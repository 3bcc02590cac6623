"""Which kernels make a forward and a backward pass, in which order, on which grids.

Maps are (B, D, *S) for query and key and (B, C, *S) for the others, where S is H, W or T, H, W. float32 takes the pixel
kernels; half precision takes the line kernels, which go along one axis at a time.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ccnet_kernels.cuda import launch
from ccnet_kernels.cuda.grids import (
    LINE_CHANNELS,
    LINE_DOTS,
    LINE_SLICE,
    PIXEL_CHANNELS,
    PIXEL_DOTS,
    PIXEL_SLICE,
    SHORT,
    attend_short_bytes,
    blocks_of_lines,
    blocks_of_pixels,
    gradients_short_bytes,
    in_pieces,
    short_rows,
    span_of,
)
from ccnet_kernels.cuda.maps import Result, packed, packed_apart, pitch_of, room_for


def forward(query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None) -> Tensor:
    """Return scale * attended + residual, laid out as `torch.empty_like(value)`."""
    output = Result(value)
    _forward(query, key, value, scale, residual, output.memory, None, room_for_log_sums(value))
    return output.unpacked()


def forward_and_keep(
    query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `forward` does, the attended map, and the log-sum-exp of each position, (B, *S) in float32.

    Without scale and residual the attended map is the output, and in its place there is an empty one.
    """
    output, log_sums = Result(value), room_for_log_sums(value)
    attended = value.new_empty(0) if scale is None and residual is None else room_for(value)
    kept = attended if attended.numel() else None
    _forward(query, key, value, scale, residual, output.memory, kept, log_sums)
    return output.unpacked(), attended, log_sums


def room_for_log_sums(maps: Tensor) -> Tensor:
    """Return fresh memory for one float32 number per position."""
    return torch.empty((maps.shape[0], *maps.shape[2:]), dtype=torch.float32, device=maps.device)


def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    output: Tensor,
    attended: Tensor | None,
    log_sums: Tensor,
) -> None:
    factor = None if scale is None else scale.float()
    added = None if residual is None else packed(residual)
    launches: Callable[..., None] = _pixels_forward if value.dtype == torch.float32 else _lines_forward
    launches(*_inputs(query, key, value), factor, added, output, attended, log_sums)


def _inputs(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """Return query, key and value as the kernels take them."""
    if value.dtype != torch.float32 and max(value.shape[2:]) <= SHORT:
        return packed_apart(query, key, value)
    return packed(query), packed(key), packed(value)


def backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor | None,
    attended: Tensor,
    log_sums: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scale for that of the output.

    Those of the maps are laid out as `torch.empty_like` of them; without scale there is an empty one.
    """
    results = Result(query), Result(key), Result(value)
    memories = [result.memory for result in results]
    delta = torch.empty_like(log_sums)
    factor = None if scale is None else scale.float()
    maps = [*_inputs(query, key, value), packed(gradient), packed(attended)]
    launches: Callable[..., None] = _pixels_backward if value.dtype == torch.float32 else _lines_backward
    launches(*maps, factor, log_sums, delta, *memories)
    scale_gradient = value.new_empty(0) if scale is None else delta.sum().to(scale.dtype).view(scale.shape)
    return results[0].unpacked(), results[1].unpacked(), results[2].unpacked(), scale_gradient


def _pixels_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    output: Tensor,
    attended: Tensor | None,
    log_sums: Tensor,
) -> None:
    narrow, channels, extent = query.shape[1], value.shape[1], _frames_height_width(value)
    tiles = blocks_of_pixels(value.shape[0], *extent)
    launch.run("log_sum_exp_float32", tiles, (query, key, log_sums, narrow, *extent))
    flags = scale is not None, residual is not None, attended is not None, False
    arguments = (query, key, value, log_sums, scale, residual, attended, output, narrow, channels, *extent, *flags)
    launch.run("weighted_sum_float32", tiles * in_pieces(channels, PIXEL_CHANNELS), arguments)


def _pixels_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gradient: Tensor,
    attended: Tensor,
    scale: Tensor | None,
    log_sums: Tensor,
    delta: Tensor,
    query_gradient: Tensor,
    key_gradient: Tensor,
    value_gradient: Tensor,
) -> None:
    narrow, channels, extent = query.shape[1], value.shape[1], _frames_height_width(value)
    tiles, scaled = blocks_of_pixels(value.shape[0], *extent), scale is not None
    dots, size = in_pieces(log_sums.numel(), PIXEL_DOTS), math.prod(extent)
    launch.run("channel_dot_float32", dots, (gradient, attended, delta, value.shape[0], channels, size))

    blocks = tiles * in_pieces(channels, PIXEL_CHANNELS)
    flags = scaled, False, False, True
    arguments = (key, query, gradient, log_sums, scale, None, None, value_gradient, narrow, channels, *extent, *flags)
    launch.run("weighted_sum_float32", blocks, arguments)

    blocks = tiles * in_pieces(narrow, PIXEL_SLICE)
    known, sizes = (log_sums, delta, scale), (narrow, channels, *extent, scaled)
    run = functools.partial(launch.run, "energy_gradient_float32", blocks)
    run((query, key, gradient, value, *known, query_gradient, *sizes, False))
    run((key, query, value, gradient, *known, key_gradient, *sizes, True))


def _frames_height_width(maps: Tensor) -> tuple[int, int, int]:
    """Return the extent of maps; a picture has one frame."""
    *frames, height, width = maps.shape[2:]
    return (frames[0] if frames else 1), height, width


def _lines_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    output: Tensor,
    attended: Tensor | None,
    log_sums: Tensor,
) -> None:
    narrow, channels, form = query.shape[1], value.shape[1], _format_of(value)
    positions, axes = log_sums.numel(), _axes(value)
    # Several blocks read the earlier sums of a position, and one writes its new sum: two memories take turns.
    sums = [log_sums, torch.empty_like(log_sums)]
    folded = scale is not None, residual is not None, attended is not None
    for turn, (length, step) in enumerate(axes):
        first, last = turn == 0, turn == len(axes) - 1
        now, before = sums[:: 1 if (len(axes) - turn) % 2 else -1]
        maps = query, key, value, None if first else before, now, output if attended is None else attended
        arguments = (*maps, scale, residual, output, narrow, channels)
        place = length, step, first, last, *folded
        if length <= SHORT:
            lines, rows = positions // length, short_rows(length)
            span = span_of(lines, channels)
            blocks = lines * in_pieces(channels, span)
            counts = pitch_of(query), pitch_of(value), span
            launch.run(
                f"attend_short_{form}", blocks, (*arguments, *counts, *place), 2 * rows, attend_short_bytes(rows)
            )
        else:
            blocks = blocks_of_lines(positions, length) * in_pieces(channels, LINE_CHANNELS)
            launch.run(f"attend_{form}", blocks, (*arguments, *place))


def _lines_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gradient: Tensor,
    attended: Tensor,
    scale: Tensor | None,
    log_sums: Tensor,
    delta: Tensor,
    query_gradient: Tensor,
    key_gradient: Tensor,
    value_gradient: Tensor,
) -> None:
    narrow, channels, form, scaled = query.shape[1], value.shape[1], _format_of(value), scale is not None
    positions = log_sums.numel()
    dots = in_pieces(positions, LINE_DOTS)
    launch.run(f"channel_dot_{form}", dots, (gradient, attended, delta, channels, positions))
    for turn, (length, step) in enumerate(_axes(value)):
        place = narrow, channels, length, step, turn == 0, scaled
        known = log_sums, delta, scale
        if length <= SHORT:
            rows, name = short_rows(length), f"gradients_short_{form}"
            maps = query, key, value, gradient, *known, query_gradient, key_gradient, value_gradient
            arguments = *maps, narrow, channels, pitch_of(query), pitch_of(value), *place[2:]
            launch.run(name, positions // length, arguments, 2 * rows, gradients_short_bytes(rows))
            continue
        tiles = blocks_of_lines(positions, length)
        blocks = tiles * in_pieces(channels, LINE_CHANNELS)
        launch.run(f"weighted_sum_{form}", blocks, (key, query, gradient, log_sums, scale, value_gradient, *place))
        blocks = tiles * in_pieces(narrow, LINE_SLICE)
        launch.run(f"query_gradient_{form}", blocks, (query, key, gradient, value, *known, query_gradient, *place))
        launch.run(f"key_gradient_{form}", blocks, (key, query, value, gradient, *known, key_gradient, *place))


def _axes(maps: Tensor) -> list[tuple[int, int]]:
    """Return length and step in memory of each axis, innermost first. Along an axis of 1 there is nobody to see."""
    axes, step = [], 1
    for length in reversed(maps.shape[2:]):
        axes.append((length, step))
        step *= length
    return [axis for axis in axes if axis[0] > 1] or [(1, 1)]


def _format_of(maps: Tensor) -> str:
    return str(maps.dtype).removeprefix("torch.")
