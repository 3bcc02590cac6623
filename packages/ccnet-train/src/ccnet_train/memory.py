"""How much memory a step takes, found by taking it with tensors that have shapes but no numbers."""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ccnet_core as ccnet
from ccnet_train.datasets import SampleDataset
from ccnet_train.losses import Objective
from ccnet_train.recipe import Recipe

STATES = {"sgd": 1, "adamw": 2}
"""Numbers that an optimiser keeps for each parameter; SGD's is the momentum."""


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes in one process, in float32: what stays, and at the highest point of a step its activations and gradients.

    Workspace of convolutions and the libraries themselves come on top. Lower precision takes less.
    """

    weights: int
    optimiser: int
    average: int
    step: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.optimiser + self.average + self.step


def step_memory(
    network: ccnet.CCNet, objective: Objective, recipe: Recipe, shape: tuple[int, ...], pictures: int
) -> StepMemory:
    """Return what a step of `recipe` takes for micro-batches of `pictures` of `shape`, (3, H, W) or (T, 3, H, W).

    `network` is in training mode, as :func:`ccnet_train.network.train_mode` leaves it. Nothing of it changes.
    """
    trained = _bytes(parameter for parameter in network.parameters() if parameter.requires_grad)
    return StepMemory(
        weights=_bytes([*network.parameters(), *network.buffers()]),
        optimiser=STATES[recipe.optimiser.name] * trained,
        average=0 if recipe.train.weight_average is None else _bytes(network.parameters()),
        step=_highest(_Passes(network, objective, passes=min(recipe.train.accumulation, 2)), shape, pictures),
    )


def memory_in_words(
    network: ccnet.CCNet, recipe: Recipe, dataset: SampleDataset, shape: tuple[int, ...], pictures: int
) -> str:
    """Return :func:`step_memory` of a step with the loss that `recipe` has for `dataset`, in words."""
    weights = None if recipe.loss.class_weights is None else torch.ones(len(dataset.classes))  # counting takes long
    objective = Objective(
        recipe.loss, num_classes=len(dataset.classes), ignore_index=dataset.ignore_index, weights=weights
    )
    memory = step_memory(network, objective, recipe, shape, pictures)
    return f"{_text(memory)}, for {pictures} x {_size(shape)} in float32"


def _size(shape: tuple[int, ...]) -> str:
    """Return the size of a picture, or of a clip, in words."""
    frames = f"{shape[0]} frames of " if len(shape) == 4 else ""
    return f"{frames}{shape[-2]} x {shape[-1]} pixels"


def _text(memory: StepMemory) -> str:
    total, *amounts = (f"{size / 2**30:.2f}" for size in (memory.total, *vars(memory).values()))
    named = ", ".join(f"{name} {amount}" for name, amount in zip(vars(memory), amounts, strict=True))
    return f"about {total} GiB per process ({named})"


class _Passes(nn.Module):
    """Forward and backward, `passes` times without clearing gradients. One module, so that its tensors can be fake."""

    def __init__(self, network: ccnet.CCNet, objective: Objective, *, passes: int) -> None:
        super().__init__()
        self.network, self.objective, self.passes = network, objective, passes

    def forward(self, images: Tensor, labels: Tensor) -> None:
        """`images` (B, [T,] 3, H, W) uint8, `labels` (B, H, W) int64."""
        for _ in range(self.passes):
            divisors = self.objective.divisors(labels)
            self.objective(self.network, self.network(images), labels, divisors, 1.0).backward()


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made and not yet freed; those of `known` are not counted."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages = {tensor.untyped_storage()._cdata for tensor in known}
        self.now: int = 0
        self.highest: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.storages:
            self.storages.add(storage._cdata)
            self.now += storage.nbytes()
            self.highest = max(self.highest, self.now)
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, storage: int, size: int) -> None:
        self.storages.discard(storage)
        self.now -= size


def _highest(passes: _Passes, shape: tuple[int, ...], pictures: int) -> int:
    """Return the largest number of bytes that are alive at once beside the weights."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        own: dict[str, Tensor] = {name: fake.from_tensor(value) for name, value in _tensors(passes).items()}
        images = torch.zeros(pictures, *shape, dtype=torch.uint8)
        labels = torch.zeros(pictures, *shape[-2:], dtype=torch.int64)
        live = _Live(own.values())
        with live:
            functional_call(passes, own, (images, labels))
    return live.highest


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
