"""What a pixel looks at: the weights of criss-cross attention, followed back through its steps (paper, figure 6).

Shape letters: D query and key channels, h and w size of the feature map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccnet_core.checks import is_whole, require
from ccnet_core.errors import ConfigError, PictureError
from ccnet_core.fit import Fit
from ccnet_core.model import CCNet
from ccnet_core.predict import evaluating
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_core.rcca import CrissCrossAttention, RecurrentCrissCrossAttention
from ccnet_core.resize import fit_bytes

Map = NDArray[np.float32]


def attention_map(model: CCNet, image: Picture, *, point: tuple[int, int], recurrence: int | None = None) -> Map:
    """Return how much the pixel `point` = (x, y) attends to each position of the feature map.

    The result is float32 (h, w), not negative, and sums to 1. With `recurrence` 1 it is the pixel's own cross in the
    network's last step, with 2 the product of the last two steps, which reaches every position; None follows two
    steps, or one if the network has no more. Only the attention weights are followed, not the `+ x` beside them.
    The pixel stands for the position that covers it when the map is laid over the picture; if the model's plan fits
    pictures into a crop, over that: see :func:`ccnet_core.attention_map.as_seen`.

    `image` is what :func:`ccnet_core.predict` takes. Memory is that of the network for the whole picture: the weights
    of one row of positions are computed at a time. Raises PictureError for a point outside or no point at all,
    ConfigError for more steps than the network has, and for a network without criss-cross attention.
    """
    return attention_maps(model, image, points=[point], recurrence=recurrence)[0][-1]


def attention_maps(
    model: CCNet, image: Picture, *, points: Sequence[tuple[int, int]], recurrence: int | None = None
) -> list[list[Map]]:
    """Return for each of `points` the maps of :func:`attention_map` after 1, 2, ... `recurrence` steps.

    The network runs once.
    """
    modules = attention_steps(model)
    known = len(modules)
    recurrence = min(2, known) if recurrence is None else recurrence
    valid = is_whole(recurrence) and 1 <= recurrence <= known
    require(valid, f"recurrence must be from 1 to {known}, the steps of this network; got {recurrence}")
    picture, places = as_seen(model, image, points)
    size = (picture.shape[1], picture.shape[2])
    with evaluating(model):
        steps = _last_steps(model, modules, picture, recurrence)
        return [[share.cpu().numpy() for share in _follow(steps, (y, x), size)] for x, y in places]


def as_seen(model: CCNet, image: Picture, points: Sequence[tuple[int, int]]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Return the picture, uint8 (3, H, W), on which an attention map lies, and where `points` (x, y) are there.

    It is the picture itself, but in mode "fit" of the model's plan the crop into which it is fitted. Raises
    PictureError for a point outside of the picture or no point at all.
    """
    picture, plan = to_tensor(image), model.config.inference
    size = (picture.shape[1], picture.shape[2])
    pixels = [_pixel(point, size) for point in points]
    if plan.mode == "fit" and plan.crop is not None:
        fit = Fit(size, plan.crop)
        picture, pixels = fit_bytes(picture[None], plan.crop)[0], [fit.pixel(pixel) for pixel in pixels]
    return picture, [(x, y) for y, x in pixels]


def attention_steps(model: CCNet) -> list[CrissCrossAttention]:
    """Return the module of each step that can be followed. Raises ConfigError if there is none."""
    if not isinstance(model.head.attention, RecurrentCrissCrossAttention):
        raise ConfigError("attention_map follows criss-cross attention; this network has a non-local block.")
    require(model.config.task == "segmentation", "attention_map follows pictures; this is a model of clips")
    require(model.config.head.recurrence, "This network has no attention steps (recurrence 0)")
    return model.head.attention.steps()


def _pixel(point: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return (y, x) of `point` in a picture of `size` (height, width)."""
    try:
        x, y = map(int, point)
    except (TypeError, ValueError, OverflowError) as error:
        raise PictureError(f"The point must be two numbers (x, y), got {point!r}.") from error
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        raise PictureError(f"The point {x},{y} is outside the picture of {width}x{height} pixels (x,y from 0).")
    return y, x


@dataclass(frozen=True)
class _Step:
    """One step of criss-cross attention: `query` and `key`, float32 (D, h, w)."""

    query: Tensor
    key: Tensor

    def spread(self, share: Tensor) -> Tensor:
        """Hand each position's share (h, w) on to its cross; a row of positions holds n * (h + w) weights."""
        height, given = share.shape[0], torch.zeros_like(share)
        for y in share.any(1).nonzero().flatten().tolist():
            x = share[y].nonzero().flatten()
            query = self.query[:, y, x]
            column = torch.einsum("dn,din->ni", query, self.key[:, :, x])
            column[:, y] = -torch.inf  # the position itself is counted in its row
            row = torch.einsum("dn,di->ni", query, self.key[:, y])
            weights = torch.cat([column, row], 1).softmax(1) * share[y, x, None]
            given[:, x] += weights[:, :height].T
            given[y] += weights[:, height:].sum(0)
        return given


def _last_steps(model: CCNet, modules: Sequence[CrissCrossAttention], picture: Tensor, count: int) -> list[_Step]:
    """Return the last `count` of the `modules` at work on a picture (3, H, W), the last one first."""
    x = model.head.reduce(model.features(picture[None].to(model.device))[-1])
    steps = []
    for index, module in enumerate(modules):
        if index >= len(modules) - count:
            steps.append(_Step(module.query_conv(x)[0].float(), module.key_conv(x)[0].float()))
        if index + 1 < len(modules):
            x = module(x)
    return steps[::-1]


def _follow(steps: Sequence[_Step], pixel: tuple[int, int], size: tuple[int, int]) -> list[Tensor]:
    """Return the shares (h, w) of `pixel` (y, x) after each of `steps`."""
    share = torch.zeros_like(steps[0].query[0])
    cell = [(2 * place + 1) * cells // (2 * edge) for place, cells, edge in zip(pixel, share.shape, size, strict=True)]
    share[tuple(cell)] = 1
    shares = []
    for step in steps:
        share = step.spread(share)
        shares.append(share)
    return shares
