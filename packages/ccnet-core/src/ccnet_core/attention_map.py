"""What a pixel looks at: the weights of criss-cross attention, followed back through its steps (paper, figure 6)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccnet_core.checks import is_whole, require
from ccnet_core.errors import ConfigError, PictureError
from ccnet_core.model import CCNet
from ccnet_core.predict import evaluating
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_core.rcca import RecurrentCrissCrossAttention


def attention_map(
    model: CCNet, image: Picture, *, point: tuple[int, int], recurrence: int | None = None
) -> NDArray[np.float32]:
    """Return how much the pixel `point` = (x, y) attends to each position of the feature map.

    The result is float32 (h, w), not negative, and sums to 1. With `recurrence` 1 it is the pixel's own cross in the
    network's last step, with 2 the product of the last two steps, which reaches every position; None follows two
    steps, or one if the network has no more. Only the attention weights are followed, not the `+ x` beside them.
    `image` is what :func:`ccnet_core.predict` takes. Raises PictureError for a point outside or no point at all,
    ConfigError for more steps than the network has, and for a network without criss-cross attention.
    """
    steps, attention = model.config.head.recurrence, model.head.attention
    if not isinstance(attention, RecurrentCrissCrossAttention):
        raise ConfigError("attention_map follows criss-cross attention; this network has a non-local block.")
    require(steps, "This network has no attention steps (recurrence 0)")
    recurrence = min(2, steps) if recurrence is None else recurrence
    known = is_whole(recurrence) and 1 <= recurrence <= steps
    require(known, f"recurrence must be from 1 to {steps}, the steps of this network; got {recurrence}")
    picture = to_tensor(image)
    height, width = picture.shape[1:]
    try:
        x, y = map(int, point)
    except (TypeError, ValueError, OverflowError) as error:
        raise PictureError(f"The point must be two numbers (x, y), got {point!r}.") from error
    if not (0 <= x < width and 0 <= y < height):
        raise PictureError(f"The point {x},{y} is outside the picture of {width}x{height} pixels (x,y from 0).")
    with evaluating(model):
        features = model.features(picture[None].to(model.device))[-1]
        weights = attention.weights(model.head.reduce(features))
        h, w = weights[0][0].shape[1:3]
        share = torch.zeros(h, w, device=model.device)
        share[y * h // height, x * w // width] = 1
        for column, row in reversed(weights[steps - recurrence :]):
            share = _spread(share, column[0].float(), row[0].float())
        return share.float().cpu().numpy()


def _spread(share: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Hand each position's share (h, w) on to what it attends to; `column` is (h, w, h), `row` (h, w, w)."""
    return torch.einsum("yx,yxi->ix", share, column) + torch.einsum("yx,yxi->yi", share, row)
