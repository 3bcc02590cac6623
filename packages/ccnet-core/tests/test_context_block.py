import pytest
import torch
from torch import nn

import ccnet_core as ccnet
from ccnet_core.config import BackboneConfig
from ccnet_core.non_local import RecurrentNonLocalBlock
from ccnet_core.resnet import ResNet


def resnet(block="bottleneck", stem=(8, 8, 8)):
    torch.manual_seed(0)
    config = BackboneConfig(block=block, depths=(1, 1, 3, 1), width=8, stem_channels=stem)
    network = ResNet(config).eval()
    for name, value in network.state_dict().items():
        if name.endswith("weight") and value.ndim == 1:
            value.uniform_(0.5, 1.5)  # or residual branches, which start at zero, would hide what a block does
    return network


class Blocks(nn.Module):
    """A ResNet as timm and torchvision have it: the first layers are its own, the stages are called one by one."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.layer3 = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(2)))

    def forward(self, x):
        return self.layer3(self.conv1(x))


KINDS = {
    "bottleneck": resnet,
    "basic": lambda: resnet("basic"),
    "torchvision's stem": lambda: resnet(stem=(8,)),
    "foreign": Blocks,
}


def answers(network, seed=1):
    image = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(seed))
    found = network(image.to(next(network.parameters())))
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_fresh_attention_answers_with_the_same_bits(kind, attention):
    network = KINDS[kind]()
    before = answers(network)
    ccnet.insert_attention(network, attention)
    assert all(torch.equal(old, new) for old, new in zip(before, answers(network), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_all_other_tensors_keep_their_names(kind):
    network = KINDS[kind]()
    before = network.state_dict()
    ccnet.insert_attention(network)
    after = network.state_dict()
    new = [name for name in after if name not in before]
    assert [name for name in before if name not in after] == []
    assert new
    assert all(name.startswith("layer3.context.cca.") for name in new)


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
def test_it_is_applied_to_the_input_of_the_last_block(attention):
    network = resnet()
    context = ccnet.insert_attention(network, attention, gamma=0.7, recurrence=2)
    x = network.layer2(network.layer1(network.maxpool(network.stem(torch.randn(1, 3, 40, 48)))))
    blocks = dict(network.layer3.named_children())
    inward = blocks["1"](blocks["0"](x))
    assert torch.equal(network.layer3(x), blocks["2"](context(inward)))
    assert not torch.equal(context(inward), inward)


def test_steps_share_one_set_of_weights():
    context = ccnet.insert_attention(resnet(), recurrence=2)
    first, second = context.steps()
    assert first is second


def test_a_stage_is_named():
    network = resnet("basic")
    with pytest.raises(ccnet.ConfigError, match=r"layer4 of ResNet is no nn.Sequential of two or more blocks"):
        ccnet.insert_attention(network, stage="layer4")  # it has one block, whose input is that of the stage before
    network = ResNet(BackboneConfig(block="basic", depths=(1, 2), width=8, strides=(1, 2), dilations=(1, 1)))
    assert ccnet.insert_attention(network, stage="layer2").cca.value_conv.in_channels == 16


def test_every_parameter_of_the_attention_gets_a_gradient():
    for attention in ("criss_cross", "non_local"):
        network = resnet().double()
        context = ccnet.insert_attention(network, attention, gamma=0.5)
        answers(network)[-1].square().mean().backward()
        without = [name for name, p in context.named_parameters() if p.grad.abs().max() < 1e-14]
        # The key's bias adds the same number to all energies of a position, which changes no softmax.
        assert all(name.endswith("key_conv.bias") for name in without)


def test_fresh_attention_learns_through_gamma():
    network = resnet()
    context = ccnet.insert_attention(network)
    answers(network)[-1].square().mean().backward()
    assert context.cca.gamma.grad.abs() > 0


def test_new_weights_follow_dtype_and_mode_of_the_network():
    network = resnet().double().train()
    context = ccnet.insert_attention(network)
    assert {parameter.dtype for parameter in context.parameters()} == {torch.float64}
    assert context.training
    assert not ccnet.insert_attention(resnet()).training


def test_without_steps_nothing_is_added():
    network = resnet()
    names = list(network.state_dict())
    ccnet.insert_attention(network, recurrence=0)
    assert list(network.state_dict()) == names


def test_the_non_local_block_stands_in_the_same_place():
    network = resnet()
    context = ccnet.insert_attention(network, "non_local", recurrence=1)
    assert isinstance(context, RecurrentNonLocalBlock)
    assert [name for name, _ in network.layer3.named_children()] == ["0", "1", "context", "2"]


def test_what_is_no_such_resnet_is_refused():
    with pytest.raises(ccnet.ConfigError, match="expected a ResNet, got 'layer3'"):
        ccnet.insert_attention("layer3")
    with pytest.raises(ccnet.ConfigError, match=r"Linear has no stage 'layer3'\."):
        ccnet.insert_attention(nn.Linear(1, 1))
    with pytest.raises(ccnet.ConfigError, match=r"ResNet has no stage 'layer5'. Did you mean"):
        ccnet.insert_attention(resnet(), stage="layer5")
    network = Blocks()
    network.layer3 = nn.Sequential(nn.ReLU(), nn.ReLU())
    with pytest.raises(ccnet.ConfigError, match=r"layer3\.1 has no convolution"):
        ccnet.insert_attention(network)


def test_a_second_attention_in_one_stage_is_refused():
    network = resnet()
    ccnet.insert_attention(network)
    with pytest.raises(ccnet.ConfigError, match="layer3 of ResNet has attention already"):
        ccnet.insert_attention(network)


def test_a_refused_attention_leaves_the_network_as_it_is():
    network = resnet()
    with pytest.raises(ccnet.ConfigError, match="must be a multiple of reduction 7"):
        ccnet.insert_attention(network, reduction=7)
    with pytest.raises(ccnet.ConfigError, match="attention must be 'criss_cross' or 'non_local', got 'pyramid'"):
        ccnet.insert_attention(network, "pyramid")
    with pytest.raises(ccnet.ConfigError, match="backend is for criss-cross attention"):
        ccnet.insert_attention(network, "non_local", backend="torch")
    assert [name for name, _ in network.layer3.named_children()] == ["0", "1", "2"]


@pytest.mark.detection
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_resnets_of_torchvision_take_it_as_well(name):
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)().eval()
    image = torch.randn(1, 3, 64, 80)
    before, names = network(image), list(network.state_dict())
    context = ccnet.insert_attention(network)
    assert context.cca.value_conv.in_channels == network.layer3[-1].conv1.in_channels
    assert torch.equal(network(image), before)
    assert [added for added in network.state_dict() if added not in names] == [
        f"layer3.context.{part}" for part in context.state_dict()
    ]
    with torch.no_grad():
        context.cca.gamma.fill_(1.0)
    assert not torch.equal(network(image), before)
