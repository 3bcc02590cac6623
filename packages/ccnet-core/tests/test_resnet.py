import pytest
import torch
from torch import nn

from ccnet_core.config import BackboneConfig
from ccnet_core.resnet import BasicBlock, Bottleneck, ResNet


def dilations(stage):
    return [
        module.dilation[0] for module in stage.modules() if isinstance(module, nn.Conv2d) and module.kernel_size[0] == 3
    ]


def test_first_block_of_a_dilated_stage_has_half_the_dilation():
    network = ResNet(BackboneConfig())
    assert dilations(network.layer3) == [1, 2, 2, 2, 2, 2]
    assert dilations(network.layer4) == [2, 4, 4]


def test_without_contraction_every_block_has_the_whole_dilation():
    network = ResNet(BackboneConfig(contract_dilation=False))
    assert dilations(network.layer3) == [2] * 6
    assert dilations(network.layer4) == [4] * 3


def test_ceil_mode_makes_the_features_one_larger():
    image = torch.zeros(1, 3, 64, 64)
    small = BackboneConfig(depths=(1,), strides=(1,), dilations=(1,), width=4, stem_channels=(4, 4, 4))
    ceil = BackboneConfig(depths=(1,), strides=(1,), dilations=(1,), width=4, stem_channels=(4, 4, 4), ceil_mode=True)
    assert ResNet(small)(image)[0].shape[2:] == (16, 16)
    assert ResNet(ceil)(image)[0].shape[2:] == (17, 17)


def test_only_the_first_convolution_of_a_basic_block_is_dilated():
    network = ResNet(BackboneConfig(block="basic", depths=(1, 1, 2, 2)))
    assert dilations(network.layer3) == [1, 1, 2, 1]
    assert dilations(network.layer4) == [2, 1, 4, 1]


@pytest.mark.parametrize(("channels", "kernels", "strides"), [((64,), [7], [2]), ((64, 64, 128), [3, 3, 3], [2, 1, 1])])
def test_stem_is_one_large_or_three_small_convolutions(channels, kernels, strides):
    stem = ResNet(BackboneConfig(depths=(1,), strides=(1,), dilations=(1,), stem_channels=channels)).stem
    convolutions = [module for module in stem if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == list(channels)
    assert [conv.kernel_size[0] for conv in convolutions] == kernels
    assert [conv.stride[0] for conv in convolutions] == strides
    assert stem(torch.zeros(1, 3, 33, 20)).shape[2:] == (17, 10)


def test_convolutions_start_as_kaiming_normal_by_fan_out():
    # mmsegmentation: `Kaiming` for Conv2d, whose default is fan_out and a normal distribution.
    network = ResNet(BackboneConfig(depths=(1, 1), strides=(1, 2), dilations=(1, 1)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)
            # More than a uniform distribution of this spread would reach.
            assert module.weight.abs().max() > 2 * expected
            assert module.bias is None


@pytest.mark.parametrize(("block", "last"), [("basic", "bn2"), ("bottleneck", "bn3")])
def test_batch_norm_starts_at_one_and_ends_a_residual_branch_with_zero(block, last):
    network = ResNet(BackboneConfig(block=block, depths=(1, 2), strides=(1, 2), dilations=(1, 1)))
    ends = {getattr(module, last) for module in network.modules() if isinstance(module, BasicBlock | Bottleneck)}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == (0 if module in ends else 1)).all()
            assert (module.bias == 0).all()


def test_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    block = Bottleneck(64, 16, stride=2, dilation=1)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_one_feature_map_per_stage():
    network = ResNet(BackboneConfig(depths=(1, 1), strides=(1, 2), dilations=(1, 1), width=4, stem_channels=(4, 4, 8)))
    shapes = [tuple(feature.shape) for feature in network(torch.zeros(2, 3, 32, 40))]
    assert shapes == [(2, 16, 8, 10), (2, 32, 4, 5)]
    assert network.channels == [16, 32]
