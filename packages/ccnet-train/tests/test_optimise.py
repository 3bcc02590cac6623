import pytest
import torch

from ccnet_train.optimise import build_optimiser, learning_rate, set_learning_rate
from ccnet_train.recipe import OptimiserSection, ScheduleSection


def rate(iteration, **schedule):
    return learning_rate(iteration, iterations=1000, lr=0.01, schedule=ScheduleSection(**schedule))


def test_polynomial_decay_equals_mmsegmentations_recursion():
    # mmengine's PolyParamScheduler moves from one rate to the next; ours is closed, so the two are independent.
    expected, power, low = 0.01, 0.9, 1e-4
    for iteration in range(1000):
        assert rate(iteration, power=power, min_lr=low) == pytest.approx(expected, rel=1e-9)
        expected = (expected - low) * (1 - 1 / (1000 - iteration)) ** power + low


def test_without_power_the_rate_stays():
    assert {rate(iteration, power=0) for iteration in (0, 500, 999)} == {0.01}


def test_the_warm_up_rises_linearly_and_ends_at_the_decayed_rate():
    rates = [rate(iteration, power=0, warmup_iterations=4) for iteration in range(6)]
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01])


@pytest.mark.parametrize(
    ("section", "kind", "expected"),
    [
        (
            OptimiserSection(name="sgd", lr=0.1, momentum=0.8, weight_decay=5e-4),
            torch.optim.SGD,
            {"lr": 0.1, "momentum": 0.8, "weight_decay": 5e-4},
        ),
        (
            OptimiserSection(name="adamw", lr=0.2, weight_decay=1e-2),
            torch.optim.AdamW,
            {"lr": 0.2, "weight_decay": 1e-2},
        ),
    ],
)
def test_the_named_optimiser_gets_its_numbers(section, kind, expected):
    optimiser = build_optimiser([torch.nn.Parameter(torch.ones(1))], section)
    assert type(optimiser) is kind
    assert expected.items() <= optimiser.param_groups[0].items()


def test_the_rate_reaches_every_group():
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(2)]
    optimiser = torch.optim.SGD(groups, lr=1.0)
    set_learning_rate(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.5]
