import pytest
import torch

from ccnet_train.datasets import load_split
from ccnet_train.losses import Objective
from ccnet_train.memory import step_memory
from ccnet_train.network import build_network, train_mode
from ccnet_train.optimise import build_optimiser


@pytest.fixture
def prepared(squares):
    """Give recipe, network and objective for further overrides."""

    def prepare(*overrides):
        recipe = squares("model.name=ccnet_small", *overrides)
        dataset = load_split(recipe.data, "train")
        network = build_network(recipe, dataset)
        train_mode(network, recipe)
        return recipe, network, Objective(recipe.loss, num_classes=3, ignore_index=255, weights=None)

    return prepare


def estimated(prepared, size=(64, 96), pictures=2):
    recipe, network, objective = prepared
    return step_memory(network, objective, recipe, (3, *size), pictures)


def highest_of_a_real_step(recipe, network, objective, size, pictures):
    """Return the most bytes that torch's allocator had handed out at once, beyond those before the step."""
    images = torch.randint(0, 256, (pictures, 3, *size), dtype=torch.uint8)
    labels = torch.randint(0, 3, (pictures, *size))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        for _ in range(recipe.train.accumulation):
            divisors = objective.divisors(labels)
            objective(network, network(images), labels, divisors, 1.0).backward()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        highest = max(highest, now)
    return highest


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("train.accumulation=2",),
        ("model.activation_checkpointing=true",),
        ("model.freeze=[backbone]",),
        ("loss.ohem={min_kept: 50}", "loss.category_consistent={}", "loss.per_picture=true"),
        ("loss.ohem={min_kept: 50, rule: authors}",),
        ("model.name=ccnet_small_ce2p", "loss.auxiliary_weight=1", "loss.edge_weight=1"),
    ],
    ids=str,
)
def test_the_estimate_is_what_a_real_step_takes(prepared, overrides):
    parts = prepared(*overrides)
    # Large enough that the weights, of which a convolution may make a copy, do not decide.
    estimate = estimated(parts, (128, 192), 2).step
    assert highest_of_a_real_step(*parts, (128, 192), 2) == pytest.approx(estimate, rel=0.03)


def test_what_stays_is_weights_optimiser_and_average(prepared):
    recipe, network, objective = prepared("train.weight_average=0.9", "model.freeze=[backbone.layer1]")
    memory = estimated((recipe, network, objective))
    assert memory.weights == sum(value.nbytes for value in [*network.parameters(), *network.buffers()])
    assert memory.average == sum(value.nbytes for value in network.parameters())
    assert memory.total == memory.weights + memory.optimiser + memory.average + memory.step


@pytest.mark.parametrize("override", ["optimiser={name: adamw, lr: 1}", "optimiser={name: sgd, lr: 1}"])
def test_the_optimisers_part_is_what_it_keeps(prepared, override):
    recipe, network, objective = prepared(override, "model.freeze=[backbone.layer1]")
    optimiser = build_optimiser(network, recipe.optimiser)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    kept = [value for state in optimiser.state.values() for value in state.values() if value is not None]
    expected = sum(value.nbytes for value in kept if value.ndim)
    assert estimated((recipe, network, objective)).optimiser == expected


def test_more_pictures_and_larger_ones_take_more_and_nothing_is_really_taken(prepared):
    parts = prepared()
    few, many = (estimated(parts, (512, 1024), pictures).step for pictures in (1, 100))
    assert 90 < many / few <= 100
    assert many > 2e10


def test_the_network_is_left_as_it_was(prepared):
    recipe, network, objective = prepared()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    estimated((recipe, network, objective))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(type(value) is torch.nn.Parameter and value.grad is None for value in network.parameters())
