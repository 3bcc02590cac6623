import torch
from torch import nn

from ccnet_core.config import BackboneConfig
from ccnet_core.resnet import Bottleneck, ResNet


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


def test_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    block = Bottleneck(64, 16, stride=2, dilation=1)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_one_feature_map_per_stage():
    network = ResNet(BackboneConfig(depths=(1, 1), strides=(1, 2), dilations=(1, 1), width=4, stem_channels=(4, 4, 8)))
    shapes = [tuple(feature.shape) for feature in network(torch.zeros(2, 3, 32, 40))]
    assert shapes == [(2, 16, 8, 10), (2, 32, 4, 5)]
    assert network.channels == [16, 32]
