"""The optimiser and its learning rate, a pure function of the iteration."""

from collections.abc import Iterable

import torch

from ccnet_train.recipe import OptimiserSection, ScheduleSection


def build_optimiser(parameters: Iterable[torch.nn.Parameter], section: OptimiserSection) -> torch.optim.Optimizer:
    """Return the optimiser that `section` names, over `parameters`."""
    if section.name == "sgd":
        return torch.optim.SGD(parameters, lr=section.lr, momentum=section.momentum, weight_decay=section.weight_decay)
    return torch.optim.AdamW(parameters, lr=section.lr, weight_decay=section.weight_decay)


def learning_rate(iteration: int, *, iterations: int, lr: float, schedule: ScheduleSection) -> float:
    """Return the learning rate of `iteration` (0 is the first) in a run of `iterations`.

    Polynomial decay from `lr` towards `min_lr`, reached at `iterations`: mmsegmentation 1.2.2, `PolyLR` by iteration.
    In the first `warmup_iterations` it is multiplied by a linear rise that ends at 1.
    """
    left = 1 - iteration / iterations
    decayed: float = schedule.min_lr + (lr - schedule.min_lr) * left**schedule.power
    return decayed * min(1.0, (iteration + 1) / (schedule.warmup_iterations + 1))


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr`."""
    for group in optimiser.param_groups:
        group["lr"] = lr
