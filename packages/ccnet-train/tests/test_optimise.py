import pytest
import torch

import ccnet_core as ccnet
from ccnet_train.optimise import build_optimiser, learning_rate, set_learning_rate
from ccnet_train.recipe import OptimiserSection, ScheduleSection


@pytest.fixture
def network():
    return ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)


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


def test_with_milestones_the_rate_is_that_of_torchs_own_schedule_after_the_warm_up():
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([parameter], lr=0.01)
    torchs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [600, 800], gamma=0.1)
    for iteration in range(1000):
        if iteration >= 9:
            expected = optimiser.param_groups[0]["lr"]
            assert rate(iteration, milestones=(600, 800), warmup_iterations=9) == pytest.approx(expected, rel=1e-12)
        optimiser.step()
        torchs.step()
    assert rate(4, milestones=(600, 800), warmup_iterations=9) == pytest.approx(0.005)


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
    optimiser = build_optimiser(torch.nn.Linear(1, 1), section)
    assert type(optimiser) is kind
    assert expected.items() <= optimiser.param_groups[0].items()


def test_alike_parameters_are_one_group_in_the_order_of_the_network(network):
    (group,) = build_optimiser(network, OptimiserSection(name="adamw", lr=0.1)).param_groups
    assert all(a is b for a, b in zip(group["params"], network.parameters(), strict=True))


def test_frozen_parameters_are_left_out(network):
    network.backbone.requires_grad_(False)
    optimiser = build_optimiser(network, OptimiserSection(name="sgd", lr=0.1, head_lr_multiplier=2))
    (group,) = optimiser.param_groups
    assert len(group["params"]) == len([p for p in network.parameters() if p.requires_grad])


def test_the_rate_reaches_every_group_times_its_multiplier(network):
    optimiser = build_optimiser(network, OptimiserSection(name="sgd", lr=0.1, head_lr_multiplier=10))
    assert [group["lr"] for group in optimiser.param_groups] == [0.1, 1.0]
    set_learning_rate(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 5.0]


NORMS = (".bn", ".norm.", ".downsample.1.", ".stem.1.", ".stem.4.", ".stem.7.")


@pytest.mark.parametrize("spared", [False, True])
@pytest.mark.parametrize("multiplier", [1.0, 10.0])
def test_two_steps_of_sgd_are_those_of_mmsegmentations_rule(network, multiplier, spared):
    # mmengine's paramwise_cfg: norm_decay_mult and bias_decay_mult 0, custom_keys "head" with lr_mult. Written out as
    # v = momentum * v + gradient + decay * p, p = p - lr * v, for each parameter by its name.
    section = OptimiserSection(
        name="sgd",
        lr=0.1,
        momentum=0.9,
        weight_decay=0.01,
        head_lr_multiplier=multiplier,
        decay_norm_and_bias=not spared,
    )
    optimiser = build_optimiser(network.double(), section)
    expected = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    velocity = {name: torch.zeros_like(value) for name, value in expected.items()}
    for rate in (0.1, 0.07):
        set_learning_rate(optimiser, rate)
        for name, parameter in network.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            without = spared and (name.endswith(".bias") or any(norm in name for norm in NORMS))
            decayed = parameter.grad + (0 if without else 0.01) * expected[name]
            velocity[name] = 0.9 * velocity[name] + decayed
            expected[name] -= rate * (1 if name.startswith("backbone.") else multiplier) * velocity[name]
        optimiser.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-12, atol=1e-12, msg=name)


def test_the_groups_survive_saving(network):
    section = OptimiserSection(name="sgd", lr=0.1, head_lr_multiplier=3, decay_norm_and_bias=False, weight_decay=1e-3)
    saved = build_optimiser(network, section).state_dict()
    again = build_optimiser(network, section)
    again.load_state_dict(saved)
    assert again.state_dict() == saved
    assert [group["lr_multiplier"] for group in again.param_groups] == [1.0, 1.0, 3, 3]
