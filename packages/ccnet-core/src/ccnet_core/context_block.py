"""Attention between the residual blocks of any ResNet, as the paper puts it into the backbone of Mask R-CNN.

Shape letters: B batch, C channels, h and w height and width of the stage's feature map.
"""

from typing import Literal

from torch import nn

from ccnet_core.checks import require
from ccnet_core.errors import ConfigError, nearest
from ccnet_core.non_local import RecurrentNonLocalBlock
from ccnet_core.rcca import RecurrentCrissCrossAttention

NAME = "context"
"""What the attention is called among the blocks of its stage."""

Context = RecurrentCrissCrossAttention | RecurrentNonLocalBlock


def insert_attention(
    resnet: nn.Module,
    attention: Literal["criss_cross", "non_local"] = "criss_cross",
    *,
    recurrence: int = 2,
    stage: str = "layer3",
    reduction: int = 8,
    gamma: float = 0.0,
    backend: str | None = None,
) -> Context:
    """Let `resnet` attend before the last residual block of a stage; return the attention (B, C, h, w) -> the same.

    The place is that of the paper's Mask R-CNN and of Wang et al. (2018): `layer3` is their res4. Any ResNet serves
    whose stage is an nn.Sequential of two or more blocks: that of this package, of torchvision, of timm. The stage gets
    a further child, `context`; the names of all other tensors stay. With `gamma` 0 the network answers with the same
    bits as before. The new weights are on the device, and of the dtype, of the block that follows. The other arguments
    are those of :class:`ccnet_core.RecurrentCrissCrossAttention`; `backend` is for criss-cross attention alone. The
    non-local block that the paper compares with is applied once: `recurrence=1`.

    It changes `resnet` itself. Raises ConfigError if there is no such stage, if it has attention already, and for
    channels that are no multiple of `reduction`.
    """
    require(isinstance(resnet, nn.Module), f"expected a ResNet, got {resnet!r}")
    blocks = _blocks(resnet, stage)
    [*_, (last, block)] = blocks.named_children()
    inward = next((module for module in block.modules() if isinstance(module, nn.Conv2d)), None)
    if inward is None:
        raise ConfigError(f"{stage}.{last} has no convolution, so it is no residual block.")
    context = _context(attention, inward.in_channels, recurrence, reduction, gamma, backend)
    delattr(blocks, last)  # to come after it: an nn.Sequential calls its children in the order of their arrival
    blocks.add_module(NAME, context.to(inward.weight).train(blocks.training))
    blocks.add_module(last, block)
    return context


def _blocks(resnet: nn.Module, stage: str) -> nn.Sequential:
    children, kind = dict(resnet.named_children()), type(resnet).__name__
    blocks = children.get(stage)
    if blocks is None:
        stages = [name for name, child in children.items() if isinstance(child, nn.Sequential)]
        raise ConfigError(f"{kind} has no stage {stage!r}.{nearest(stage, stages)}")
    if not isinstance(blocks, nn.Sequential) or len(blocks) < 2:
        raise ConfigError(f"{stage} of {kind} is no nn.Sequential of two or more blocks.")
    require(not hasattr(blocks, NAME), f"{stage} of {kind} has attention already")
    return blocks


def _context(
    attention: str, channels: int, recurrence: int, reduction: int, gamma: float, backend: str | None
) -> Context:
    if attention == "criss_cross":
        return RecurrentCrissCrossAttention(
            channels, recurrence=recurrence, reduction=reduction, gamma=gamma, backend=backend
        )
    require(attention == "non_local", f"attention must be 'criss_cross' or 'non_local', got {attention!r}")
    require(backend is None, "backend is for criss-cross attention. Leave it out")
    return RecurrentNonLocalBlock(channels, recurrence=recurrence, reduction=reduction, gamma=gamma)
