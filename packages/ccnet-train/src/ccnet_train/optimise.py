"""The optimiser and its learning rate, a pure function of the iteration."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ccnet_train.recipe import OptimiserSection, ScheduleSection

STEP = 0.1
"""What a milestone multiplies the learning rate by."""

BACKBONE = "backbone."
"""How the names of the parameters begin to which `head_lr_multiplier` does not apply."""


def build_optimiser(network: nn.Module, section: OptimiserSection) -> torch.optim.Optimizer:
    """Return the optimiser that `section` names, over the parameters of `network` that are not frozen.

    Parameters of one learning rate and one weight decay are a group, in the order of the network.
    """
    groups = _groups(network, section)
    if section.name == "sgd":
        return torch.optim.SGD(groups, lr=section.lr, momentum=section.momentum)
    return torch.optim.AdamW(groups, lr=section.lr)


def learning_rate(iteration: int, *, iterations: int, lr: float, schedule: ScheduleSection) -> float:
    """Return the learning rate of `iteration` (0 is the first) in a run of `iterations`.

    Polynomial decay from `lr` towards `min_lr`, reached at `iterations`: mmsegmentation 1.2.2, `PolyLR` by iteration.
    With `milestones` it is instead a tenth as high from each of them on: torch's `MultiStepLR`. In the first
    `warmup_iterations` it is multiplied by a linear rise that ends at 1.
    """
    if schedule.milestones:
        decayed = lr * STEP ** sum(iteration >= milestone for milestone in schedule.milestones)
    else:
        left = 1 - iteration / iterations
        decayed = schedule.min_lr + (lr - schedule.min_lr) * left**schedule.power
    return decayed * min(1.0, (iteration + 1) / (schedule.warmup_iterations + 1))


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr` times its own multiplier."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_multiplier"]


def _groups(network: nn.Module, section: OptimiserSection) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter, spared in _trained(network):
        multiplier = 1.0 if name.startswith(BACKBONE) else section.head_lr_multiplier
        decay = 0.0 if spared and not section.decay_norm_and_bias else section.weight_decay
        groups.setdefault((multiplier, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": section.lr * multiplier, "lr_multiplier": multiplier, "weight_decay": decay}
        for (multiplier, decay), parameters in groups.items()
    ]


def _trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Give name, parameter, and whether it belongs to a norm or is a bias, of all that is not frozen."""
    for place, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                yield f"{place}.{name}", parameter, isinstance(module, _BatchNorm) or name == "bias"
