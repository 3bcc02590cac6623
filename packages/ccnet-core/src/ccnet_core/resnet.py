"""Dilated ResNet, the backbone of CCNet.

Parameter names below `stem` and `layer1` ... `layer4` are those of mmsegmentation's ResNetV1c, whatever the stem.
Shape letters: B batch, C channels, H and W height and width of the picture.
"""

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ccnet_core.activation_checkpointing import Checkpointed
from ccnet_core.backbone import Backbone
from ccnet_core.config import BackboneConfig


class BasicBlock(Checkpointed):
    """Two 3x3 convolutions and a shortcut; the block of ResNet-18 and -34. Only the first one is dilated."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, width, ceil(h / stride), ceil(w / stride))."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return cast(Tensor, self.relu(y + self.downsample(x)))


class Bottleneck(Checkpointed):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the block of ResNet-50 and -101. The stride is in the 3x3."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, h, w) -> (B, 4 * width, ceil(h / stride), ceil(w / stride))."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return cast(Tensor, self.relu(y + self.downsample(x)))


class Stem(Checkpointed, nn.Sequential):
    """What comes before the first stage but the max-pool: (B, 3, H, W) -> (B, C, ceil(H / 2), ceil(W / 2))."""


class ResNet(Backbone):
    """The backbone: a stem at stride 2, a max-pool to stride 4, then one to four stages.

    `channels` are the output channels of each stage, `stride` that of the last one.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        block = Bottleneck if config.block == "bottleneck" else BasicBlock
        self.stem = make_stem(config.stem_channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=config.ceil_mode)
        self.channels = [config.width * 2**stage * block.expansion for stage in range(len(config.depths))]
        in_channels = config.stem_channels[-1]
        for stage, depth in enumerate(config.depths):
            width, dilation = config.width * 2**stage, config.dilations[stage]
            first_dilation = dilation // 2 if config.contract_dilation and dilation > 1 else dilation
            blocks = [block(in_channels, width, config.strides[stage], first_dilation)]
            in_channels = self.channels[stage]
            blocks += [block(in_channels, width, 1, dilation) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = [f"layer{stage + 1}" for stage in range(len(config.depths))]
        self.stride = 4 * math.prod(config.strides)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as mmsegmentation does: Kaiming normal, and residual branches that start at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def parts(self) -> list[nn.Module]:
        """Return the stem, and each stage."""
        return [self.stem, *(self.get_submodule(name) for name in self.stages)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised -> one feature map per stage, (B, channels[i], h_i, w_i)."""
        x = self.maxpool(self.stem(x))
        features = []
        for name in self.stages:
            x = getattr(self, name)(x)
            features.append(x)
        return features


def make_stem(channels: Sequence[int]) -> Stem:
    """Return one 7x7 or several 3x3 convolutions, each with batch norm and ReLU; the first has stride 2."""
    layers: list[nn.Module] = []
    in_channels = 3
    for index, out_channels in enumerate(channels):
        stride = 2 if index == 0 else 1
        if len(channels) == 1:
            conv = nn.Conv2d(in_channels, out_channels, 7, stride, padding=3, bias=False)
        else:
            conv = conv3x3(in_channels, out_channels, stride)
        layers += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        in_channels = out_channels
    return Stem(*layers)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the identity where shapes agree, else a 1x1 convolution with batch norm."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
