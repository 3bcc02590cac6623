"""Activation checkpointing: compute activations again in the backward pass instead of keeping them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Checkpointed(nn.Module):
    """A module that keeps only its input for the backward pass while `checkpointing` is true and it is training.

    The backward pass draws the same random numbers, so gradients are the same bits, and batch norm updates its running
    statistics once.
    """

    checkpointing = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the module, its hooks included."""
        if not (self.checkpointing and self.training and torch.is_grad_enabled()):
            return super().__call__(*arguments, **options)
        if torch.compiler.is_compiling():  # the compiler computes values again, and writes statistics once by itself
            return checkpoint(super().__call__, *arguments, use_reentrant=False, **options)
        return checkpoint(
            super().__call__, *arguments, use_reentrant=False, context_fn=lambda: _contexts(self), **options
        )


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds the forward pass, and what surrounds computing it again."""
    return nullcontext(), _throwaway_statistics(module)


@contextmanager
def _throwaway_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norm update copies of its running statistics.

    Copies, because checkpointing expects the tensors of the forward pass again, so they cannot just be left out.
    """
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    statistics = [dict(norm.named_buffers()) for norm in norms]
    try:
        for norm, buffers in zip(norms, statistics, strict=True):
            _set_buffers(norm, {name: buffer.clone() for name, buffer in buffers.items()})
        yield
    finally:
        for norm, buffers in zip(norms, statistics, strict=True):
            _set_buffers(norm, buffers)


def _set_buffers(module: nn.Module, buffers: dict[str, torch.Tensor]) -> None:
    for name, buffer in buffers.items():
        setattr(module, name, buffer)
