"""A twin of a network that only predicts, and faster, checked against the network when it is made.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.attention.select import require_known
from ccnet_core.checks import require
from ccnet_core.errors import OptimizedError
from ccnet_core.folded_network import folded_network
from ccnet_core.model import CCNet, CCNetOutput
from ccnet_core.predict import evaluating
from ccnet_core.preprocess import Picture, require_pictures, to_tensor
from ccnet_core.rcca import CrissCrossAttention
from ccnet_core.tensors import require_floating

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
"""The largest difference of a logit from the network's, over its largest logit, that is put down to rounding."""

CHECK_SIZE = (129, 161)
"""Height and width of the picture for the check: odd, and larger than a tile of the widest dilation."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How near a twin is to its network on one picture.

    `logits` is the largest difference over the largest logit, `labels` the share of positions of the feature map
    with the same label.
    """

    logits: float
    labels: float


MOST_SIZES = 256
"""For so many sizes of pictures and batches the network is compiled; torch stops at 8 by default."""


class OptimizedCCNet(nn.Module):
    """What :meth:`ccnet_core.CCNet.optimized` returns: a network of the same answers that only predicts.

    Called like a CCNet, and taken by :func:`ccnet_core.predict`. It stays on its device and in its dtype, cannot be
    trained, has no auxiliary outputs, and no weights that could be saved. `agreement` is that with its network on the
    picture of the check.
    """

    agreement: Agreement

    def __init__(self, model: CCNet, *, dtype: torch.dtype, compile: bool) -> None:
        super().__init__()
        self.config, self.dtype, self.device = model.config, dtype, model.device
        self.normalise = copy.deepcopy(model.normalise)
        self.network = folded_network(model, dtype=dtype, traced=compile)
        self._compiled = compile
        if compile:
            # Frozen, weights are constants that the compiler lays out once as oneDNN wants them.
            self.network.compile(fullgraph=True, dynamic=False, options={"freezing": True})
        self.eval()

    def forward(self, image: Tensor, *, auxiliary: bool = False) -> CCNetOutput:
        """Segment `image` (B, 3, H, W), RGB, 0-255, uint8 or floating.

        Raises PictureError for another shape, and for one without pixels.
        """
        require_pictures(image)
        if auxiliary:
            raise _cannot("give auxiliary outputs")
        with torch.inference_mode():
            x = self.normalise(image).to(self.dtype).contiguous(memory_format=torch.channels_last)
            with self._recompiling():
                return CCNetOutput(self.network(x), None)

    def _recompiling(self) -> AbstractContextManager[None]:
        if not self._compiled:
            return nullcontext()
        return cast(AbstractContextManager[None], torch._dynamo.config.patch(recompile_limit=MOST_SIZES))

    def resize_logits(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear `(B, K, h, w) -> (B, K, *size)`, with the model's `align_corners`."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.config.align_corners)

    def use_attention(self, backend: str | None) -> None:
        """Ask for an attention backend by name; see :meth:`ccnet_core.CCNet.use_attention`."""
        require_known(backend)
        for module in self.modules():
            if isinstance(module, CrissCrossAttention):
                module.backend = backend

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode. Raises OptimizedError for training mode."""
        if mode:
            raise _cannot("be trained")
        return super().train(False)

    def state_dict(self, *arguments: Any, **options: Any) -> NoReturn:  # noqa: ARG002
        """Raise OptimizedError: there is nothing to save."""
        raise _cannot("be saved")

    save_pretrained = push_to_hub = state_dict

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:  # noqa: ARG002
        raise _cannot("change its device or dtype")


def _cannot(what: str) -> OptimizedError:
    return OptimizedError(f"An optimized network cannot {what}. Use the network it was made from, and optimize anew.")


def optimize(model: CCNet, *, dtype: torch.dtype | None, compile: bool, picture: Picture | None) -> OptimizedCCNet:
    """Return the twin of `model`, checked; see :meth:`ccnet_core.CCNet.optimized`."""
    dtype = model.dtype if dtype is None else dtype
    require(model.config.task == "segmentation", "there is no twin of a model of clips. Predict with the model itself")
    require_floating(dtype)
    pixels = _random_picture() if picture is None else to_tensor(picture)
    twin = OptimizedCCNet(model, dtype=dtype, compile=compile)
    try:
        twin.agreement = measure_agreement(model, twin, pixels[None].to(model.device))
    except RuntimeError as error:
        if not compile:
            raise
        reason = " ".join(str(error).split("\n")[:2])
        raise OptimizedError(f"torch.compile failed: {reason}. It needs a C++ compiler. Leave compile out.") from error
    allowed = TOLERANCE.get(dtype, math.inf)
    if not twin.agreement.logits <= allowed:
        raise OptimizedError(
            f"The optimized network differs by {twin.agreement.logits:.1e} of the largest logit from the network, "
            f"which rounding in {dtype} does not explain (at most {allowed:.0e}). Use the network as it is."
        )
    return twin


def _random_picture() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, *CHECK_SIZE), dtype=torch.uint8, generator=generator, device="cpu")


def measure_agreement(model: CCNet, twin: OptimizedCCNet, images: Tensor) -> Agreement:
    """Compare the logits of both for `images` (B, 3, H, W)."""
    with evaluating(model):
        expected = model(images, auxiliary=False).logits.double()
    logits = twin(images).logits.double()
    difference = (logits - expected).abs().max() / expected.abs().max()
    labels = (logits.argmax(1) == expected.argmax(1)).double().mean()
    return Agreement(logits=difference.item(), labels=labels.item())
