import copy

import pytest
import torch

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.weight_average import WeightAverage


@pytest.fixture
def network():
    return ccnet.CCNet.from_config("ccnet_tiny", num_classes=3)


def move(network, step):
    """Change every parameter and every buffer, as a step would."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
        for buffer in network.buffers():
            buffer += 1


def tensors(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_average_is_the_weighted_sum_of_all_weights_so_far(network):
    average = WeightAverage(network, 0.3)
    expected = {name: value.double() for name, value in tensors(network).items()}
    for step, decay in enumerate([0.1, 2 / 11, 3 / 12, 0.3, 0.3]):
        move(network, step)
        average.update()
        for name, value in network.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach().double()
    with average.applied():
        for name, value in network.named_parameters():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_networks_own_buffers_are_used(network):
    average = WeightAverage(network, 0.9)
    move(network, 0)
    average.update()
    own = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with average.applied():
        assert same(dict(network.named_buffers()), own)


def test_afterwards_the_network_has_its_own_bits_again(network):
    average = WeightAverage(network, 0.9)
    move(network, 0)
    before = tensors(network)
    average.update()
    with average.applied():
        assert not torch.equal(network.head.fuse.conv.weight, before["head.fuse.conv.weight"])
    assert same(tensors(network), before)
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert same(tensors(network), before)


def test_the_parameters_stay_those_of_the_optimiser(network):
    optimised = list(network.parameters())
    with WeightAverage(network, 0.9).applied():
        pass
    assert all(a is b for a, b in zip(optimised, network.parameters(), strict=True))


def test_what_does_not_move_is_its_own_average(network):
    before = tensors(network)
    average = WeightAverage(network, 0.37)
    for _ in range(20):
        average.update()
    with average.applied():
        assert same(tensors(network), before)


@pytest.mark.parametrize("halt", [0, 1, 4])
def test_after_a_resume_it_goes_on_with_the_same_bits(network, halt, tmp_path):
    other = copy.deepcopy(network)
    average, resumed = WeightAverage(network, 0.6), None
    for step in range(6):
        if step == halt:
            torch.save(average.state_dict(), tmp_path / "average.pt")
            other.load_state_dict(network.state_dict())
            resumed = WeightAverage(other, 0.6)
            resumed.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
        for each in (network, other):
            move(each, step)
        average.update()
        if resumed is not None:
            resumed.update()
    assert resumed.updates == average.updates == 6
    assert same(resumed.average, average.average)


def test_a_half_precision_network_is_averaged_in_float32(network):
    average = WeightAverage(network.to(torch.bfloat16), 0.999)
    assert {value.dtype for value in average.average.values()} == {torch.float32}
    average.updates = 10**6
    with torch.no_grad():
        network.head.attention.cca.gamma += 1
    average.update()  # by a thousandth, which bfloat16 would lose
    before = average.average["head.attention.cca.gamma"].item()
    assert before == pytest.approx(1.001, abs=1e-6)


@pytest.mark.parametrize("spoil", [dict.clear, lambda s: s.update(updates="x"), lambda s: s["average"].popitem()])
def test_the_average_of_another_network_is_refused(network, spoil):
    average = WeightAverage(network, 0.9)
    state = copy.deepcopy(average.state_dict())
    spoil(state)
    with pytest.raises(TrainError, match=r"not of this network\. Start over with --fresh"):
        average.load_state_dict(state)
