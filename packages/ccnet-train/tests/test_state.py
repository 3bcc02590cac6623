import copy

import pytest
import torch
from torch import nn

from ccnet_train import TrainError
from ccnet_train.state import collect, restore
from ccnet_train.weight_average import WeightAverage


def build(kind="sgd", width=3):
    """A network with a frozen and an unused layer, and an optimiser with two groups."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1), nn.Linear(1, 1))
    network[0].weight.requires_grad_(False)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": trained[:2], "lr": 0.1, "weight_decay": 0.01}, {"params": trained[2:], "lr": 0.5}]
    optimisers = {
        "sgd": lambda: torch.optim.SGD(groups, momentum=0.9),
        "plain sgd": lambda: torch.optim.SGD(groups),
        "adamw": lambda: torch.optim.AdamW(groups),
    }
    return network, optimisers[kind](), WeightAverage(network, 0.5)


def train(network, optimiser, average, steps):
    for step in steps:
        torch.manual_seed(step)
        network[:3](torch.randn(2, 3, 6, 6)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        average.update()
    return {**network.state_dict(), **{f"average {name}": value for name, value in average.average.items()}}


@pytest.mark.parametrize("kind", ["sgd", "plain sgd", "adamw"])
def test_what_goes_on_from_a_state_has_the_same_bits(tmp_path, kind):
    network, optimiser, average = build(kind)
    train(network, optimiser, average, range(3))
    torch.save(collect(network, optimiser, average=average), tmp_path / "state")
    expected = train(network, optimiser, average, range(3, 6))
    network, optimiser, average = build(kind)
    restore(torch.load(tmp_path / "state", weights_only=True), network, optimiser, average=average)
    for name, tensor in train(network, optimiser, average, range(3, 6)).items():
        assert torch.equal(tensor, expected[name]), name


def test_the_numbers_of_the_optimiser_stay_those_of_the_recipe():
    network, optimiser, average = build()
    train(network, optimiser, average, range(1))
    state = collect(network, optimiser)
    for group in optimiser.param_groups:
        group.update(weight_decay=0.25, momentum=0.5)
    restore(state, network, optimiser)
    assert [(group["weight_decay"], group["momentum"]) for group in optimiser.param_groups] == [(0.25, 0.5)] * 2


def test_what_the_state_lacks_stays_as_it_is():
    network, optimiser, average = build()
    before = copy.deepcopy(average.state_dict())
    restore(collect(network, optimiser, average=None), network, optimiser, average=average)
    assert average.state_dict()["updates"] == before["updates"]


@pytest.mark.parametrize(("kind", "width"), [("sgd", 4), ("adamw", 3)])
def test_a_state_of_another_network_or_optimiser_is_refused(kind, width):
    network, optimiser, average = build()
    train(network, optimiser, average, range(1))
    state = collect(network, optimiser)
    network, optimiser, _ = build(kind, width)
    with pytest.raises(TrainError, match=r"saved state does not fit the recipe .*--fresh") as raised:
        restore(state, network, optimiser)
    assert "\n" not in str(raised.value)
