"""Batch norm in evaluation mode, computed into the convolution before it."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Filters(NamedTuple):
    """`weight` (K, C, kernel height, kernel width) and `bias` (K) of a convolution, both float64."""

    weight: Tensor
    bias: Tensor


def filters_of(conv: nn.Conv2d) -> Filters:
    """Return the filters of `conv` as they are; a missing bias is 0."""
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().double()
    return Filters(weight, bias)


def fold(conv: nn.Conv2d, norm: nn.Module) -> Filters:
    """Return the filters of the convolution that does what `conv` and then `norm` do in evaluation mode."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = filters_of(conv)
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.detach().double() - scale * norm.running_mean.double()
    return Filters(weight * scale[:, None, None, None], scale * bias + shift)
