"""A convolution with bias, sum and activation in one, for inference, in the form that is fastest where it runs.

Shape letters: B batch, C input and K output channels, H and W height and width.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core import winograd
from ccnet_core.folding import Filters

FEWEST_CHANNELS = 128
"""With fewer, a direct convolution is faster than the transforms of `winograd`; see `benchmarks/NOTES.md`."""


class FusedConvolution(nn.Module):
    """`activation(convolution(x) + summand)`, (B, C, H, W) -> (B, K, H', W'): torch's own, for any device.

    `slope` is that of a leaky ReLU: 0 is ReLU, 1 no activation. `like` gives stride, padding and dilation. The filters
    are kept in `dtype`. A summand may be overwritten. Channels last in memory is what is fast.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, filters: Filters, like: nn.Conv2d, *, slope: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_channels, self.slope = like.in_channels, slope
        self.stride, self.dilation = list(like.stride), list(like.dilation)
        self.padding = [int(edge) for edge in like.padding]
        self.register_buffer("weight", self.keep(filters.weight, dtype), persistent=False)
        self.register_buffer("bias", filters.bias.to(dtype), persistent=False)

    def keep(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Return float64 filters (K, C, h, w) in the form that `forward` takes."""
        return weight.to(dtype, memory_format=torch.channels_last)

    def forward(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, K, H', W'), the shape of `summand`."""
        result = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)
        return self.activate(result if summand is None else result + summand)

    def activate(self, x: Tensor) -> Tensor:
        """Apply the activation in place."""
        if self.slope == 1:
            return x
        return F.leaky_relu_(x, self.slope) if self.slope else x.relu_()


class PackedConvolution(FusedConvolution):
    """oneDNN's convolution with filters packed once, sum and activation in its own loop; what torch.compile calls."""

    def keep(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the filters as oneDNN wants them: an opaque tensor."""
        weight = weight.to(dtype)
        return cast(
            Tensor, torch.ops.mkldnn._reorder_convolution_weight(weight, self.padding, self.stride, self.dilation, 1)
        )

    def forward(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """See :class:`FusedConvolution`; the result may be the memory of `summand`."""
        given = self.weight, self.bias, self.padding, self.stride, self.dilation, 1
        if summand is None:
            unary = "none" if self.slope == 1 else "leaky_relu" if self.slope else "relu"
            scalars = [self.slope] if unary == "leaky_relu" else []
            return cast(Tensor, torch.ops.mkldnn._convolution_pointwise(x, *given, unary, scalars, ""))
        summand = summand.contiguous(memory_format=torch.channels_last)
        torch.ops.mkldnn._convolution_pointwise_.binary(
            summand, x, *given, "add", 1.0, None if self.slope else "relu", [], ""
        )
        return self.activate(summand) if self.slope else summand


class WinogradConvolution(FusedConvolution):
    """3x3, stride 1, size kept: a quarter of the products of a direct convolution."""

    def keep(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the filters (3, 3, C, K) of :func:`winograd.convolve`."""
        return weight.permute(2, 3, 1, 0).to(dtype).contiguous()

    def forward(self, x: Tensor, summand: Tensor | None = None) -> Tensor:
        """See :class:`FusedConvolution`; the result may be the memory of `summand`."""
        result = winograd.convolve(x, self.weight, self.bias, self.dilation[0])
        return self.activate(result if summand is None else result.add_(summand))


def fused_convolution(
    filters: Filters, like: nn.Conv2d, *, slope: float, dtype: torch.dtype, traced: bool
) -> FusedConvolution:
    """Return the form that is fastest on the device of `filters`; one that a compiler can read, if `traced`."""
    form: type[FusedConvolution] = FusedConvolution
    if filters.weight.device.type == "cpu":
        if _suits_winograd(filters, like) and dtype in (torch.float32, torch.float64):
            form = WinogradConvolution
        elif not traced and _packs(dtype):
            form = PackedConvolution
    return form(filters, like, slope=slope, dtype=dtype)


def _suits_winograd(filters: Filters, like: nn.Conv2d) -> bool:
    """Return whether a convolution is 3x3, keeps the size of maps, and has enough channels."""
    keeps_size = like.stride == (1, 1) and like.padding == like.dilation and like.dilation[0] == like.dilation[1]
    return like.kernel_size == (3, 3) and keeps_size and min(filters.weight.shape[:2]) >= FEWEST_CHANNELS


def _packs(dtype: torch.dtype) -> bool:
    """Return whether oneDNN is here and computes in `dtype` on this CPU."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
