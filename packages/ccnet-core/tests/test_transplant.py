import dataclasses

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import ccnet_core as ccnet
from ccnet_core.checkpoint import read_checkpoint
from ccnet_core.config import AuxiliaryHeadConfig, BackboneConfig, HeadConfig
from ccnet_core.layouts import rename
from ccnet_core.resnet import ResNet
from ccnet_core.transplant import fill
from ccnet_core.zoo import load_config

BACKBONE = BackboneConfig(depths=(1, 2), width=4, stem_channels=(4, 4, 8), strides=(1, 2), dilations=(1, 1))


def renamed(state, folder):
    torch.save(state, folder / "file.pth")
    return rename(read_checkpoint(folder / "file.pth"))


@pytest.fixture
def backbone_state():
    return {
        name: torch.rand_like(t) if t.is_floating_point() else t + 3
        for name, t in ResNet(BACKBONE).state_dict().items()
    }


def test_every_tensor_is_copied(backbone_state, tmp_path):
    backbone = ResNet(BACKBONE)
    fill(backbone, renamed(backbone_state, tmp_path), what="the backbone")
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, backbone_state[name]), name


def test_other_floating_numbers_are_converted(backbone_state, tmp_path):
    backbone = ResNet(BACKBONE)
    doubles = {name: t.double() if t.is_floating_point() else t for name, t in backbone_state.items()}
    fill(backbone, renamed(doubles, tmp_path), what="the backbone")
    assert backbone.stem[0].weight.dtype == torch.float32
    assert torch.equal(backbone.stem[0].weight, backbone_state["stem.0.weight"])


def test_batch_norm_counter_that_a_file_lacks_is_zero(backbone_state, tmp_path):
    backbone = ResNet(BACKBONE)
    old = {name: tensor for name, tensor in backbone_state.items() if not name.endswith("num_batches_tracked")}
    fill(backbone, renamed(old, tmp_path), what="the backbone")
    assert backbone.stem[1].num_batches_tracked == 0
    assert torch.equal(backbone.stem[1].running_mean, backbone_state["stem.1.running_mean"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer2.1.bn3.bias"), r"83 of its 83 .*the file has nothing for 'layer2\.1\.bn3\.bias'"),
        (
            lambda s: s.update(extra=torch.zeros(1)),
            "84 of its 85 .*'extra' has no place in the layout 'mmseg-backbone'",
        ),
        (lambda s: s.update({"layer9": 1}), "'layer9' in its state dict is not a tensor"),
        (lambda s: s.update({"stem.9.bias": torch.zeros(1)}), r"'stem\.9\.bias' has no place in the model"),
        (
            lambda s: s.update({"stem.0.weight": torch.zeros(4, 3, 7, 7)}),
            r"83 of its 84 tensors match the backbone, which has 84; the first that does not: 'stem\.0\.weight' is "
            r"\(4, 3, 7, 7\) torch\.float32, needed is \(4, 3, 3, 3\) torch\.float32",
        ),
        (lambda s: s.update({"stem.1.bias": torch.zeros(4).long()}), r"'stem\.1\.bias' is \(4,\) torch\.int64"),
    ],
)
def test_first_tensor_that_does_not_match_is_named_and_nothing_copied(backbone_state, tmp_path, change, message):
    change(backbone_state)
    backbone = ResNet(BACKBONE)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(ccnet.WeightsError, match=message):
        fill(backbone, renamed(backbone_state, tmp_path), what="the backbone")
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_number_that_is_not_finite_is_refused_by_name(backbone_state, tmp_path, number):
    state = {name: t.double() if t.is_floating_point() else t for name, t in backbone_state.items()}
    state["layer1.0.conv2.weight"][1, 2, 0, 1] = number
    with pytest.raises(ccnet.WeightsError, match=r"'layer1\.0\.conv2\.weight' has NaN or infinite numbers"):
        fill(ResNet(BACKBONE), renamed(state, tmp_path), what="the backbone")


def test_negative_variance_is_refused_by_name(backbone_state, tmp_path):
    backbone_state["layer1.0.bn2.running_var"][0] = -1
    with pytest.raises(ccnet.WeightsError, match=r"'layer1\.0\.bn2\.running_var' has a variance below 0"):
        fill(ResNet(BACKBONE), renamed(backbone_state, tmp_path), what="the backbone")


def test_backbone_of_another_model_names_those_it_fits(tmp_path):
    plain = ResNet(load_config("ccnet_r18b-d8").backbone).state_dict()
    theirs = {name.replace("stem.0", "conv1").replace("stem.1", "bn1"): t for name, t in plain.items()}
    save_file({**theirs, "fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.safetensors")
    model = ccnet.CCNet.from_config("ccnet_r18b-d8", backbone_weights=tmp_path / "resnet18.safetensors")
    assert torch.equal(model.backbone.stem[0].weight, plain["stem.0.weight"])
    with pytest.raises(ccnet.WeightsError, match=r"match the backbone of ccnet_r18-d8, .*that of ccnet_r18b-d8\.$"):
        ccnet.CCNet.from_config("ccnet_r18-d8", backbone_weights=tmp_path / "resnet18.safetensors")


def test_model_whose_backbone_does_fit_is_not_sent_elsewhere(tiny, mmseg_state, tmp_path):
    torch.save({**mmseg_state(tiny), "decode_head.psp.weight": torch.zeros(1)}, tmp_path / "file.pth")
    with pytest.raises(ccnet.WeightsError, match=r"'decode_head\.psp\.weight' has no place in the layout 'mmseg'\.$"):
        ccnet.convert_checkpoint(tmp_path / "file.pth", model="ccnet_tiny")


def test_whole_network_is_no_backbone(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "file.pth")
    with pytest.raises(
        ccnet.WeightsError, match=r"a whole network \(layout 'ccnet'\)\. Load it with convert_checkpoint"
    ):
        ccnet.CCNet.from_config("ccnet_tiny", backbone_weights=tmp_path / "file.pth")


class AuthorsNetwork:
    """The forward pass of networks/ccnet.py with one block per stage, R = 2, on a state dict of its names."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, **options):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), **options)

    def abn(self, x, name, slope=1.0):
        """InPlaceABN: the weight is used as abs(weight) + eps; slope 1 is the activation "identity"."""
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        weight, bias = self.state[f"{name}.weight"].abs() + 1e-5, self.state[f"{name}.bias"]
        return F.leaky_relu(F.batch_norm(x, mean, variance, weight, bias, eps=1e-5), slope)

    def block(self, x, name, stride):
        y = F.relu(self.abn(self.conv(x, f"{name}.conv1"), f"{name}.bn1"))
        y = F.relu(self.abn(self.conv(y, f"{name}.conv2", stride=stride, padding=1), f"{name}.bn2"))
        y = self.abn(self.conv(y, f"{name}.conv3"), f"{name}.bn3")
        shortcut = self.abn(self.conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
        return F.relu(y + shortcut)

    def __call__(self, x):
        for step, stride in ((1, 2), (2, 1), (3, 1)):
            x = F.relu(self.abn(self.conv(x, f"conv{step}", stride=stride, padding=1), f"bn{step}"))
        x = self.block(F.max_pool2d(x, 3, 2, 1, ceil_mode=True), "layer1.0", 1)
        auxiliary = self.conv(self.abn(self.conv(x, "dsn.0", padding=1), "dsn.1", 0.01), "dsn.3")
        x = self.block(x, "layer2.0", 2)
        attention = ccnet.CrissCrossAttention(16)
        attention.load_state_dict({k.removeprefix("head.cca."): t for k, t in self.state.items() if "head.cca." in k})
        y = self.abn(self.conv(x, "head.conva.0", padding=1), "head.conva.1", 0.01)
        y = attention(attention(y))
        y = self.abn(self.conv(y, "head.convb.0", padding=1), "head.convb.1", 0.01)
        y = self.conv(torch.cat([x, y], 1), "head.bottleneck.0", padding=1)
        return self.conv(self.abn(y, "head.bottleneck.1", 0.01), "head.bottleneck.3"), auxiliary


def authors_state():
    state = {}

    def conv(name, out_channels, in_channels, size, bias=False):
        state[f"{name}.weight"] = torch.randn(out_channels, in_channels, size, size) / (in_channels * size**2) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(out_channels) * 0.1

    def abn(name, channels):
        state[f"{name}.weight"] = torch.randn(channels)  # half of them negative
        state[f"{name}.bias"], state[f"{name}.running_mean"] = torch.randn(2, channels) * 0.1
        state[f"{name}.running_var"] = torch.rand(channels) + 0.5

    for step, (out_channels, in_channels) in enumerate([(4, 3), (4, 4), (8, 4)], start=1):
        conv(f"conv{step}", out_channels, in_channels, 3)
        abn(f"bn{step}", out_channels)
    for layer, in_channels, width in (("layer1.0", 8, 4), ("layer2.0", 16, 8)):
        shapes = [("conv1", width, in_channels, 1), ("conv2", width, width, 3), ("conv3", 4 * width, width, 1)]
        for (name, out_channels, channels, size), norm in zip(shapes, ("bn1", "bn2", "bn3"), strict=True):
            conv(f"{layer}.{name}", out_channels, channels, size)
            abn(f"{layer}.{norm}", out_channels)
        conv(f"{layer}.downsample.0", 4 * width, in_channels, 1)
        abn(f"{layer}.downsample.1", 4 * width)
    for name, out_channels, in_channels in (("conva", 16, 32), ("convb", 16, 16), ("bottleneck", 16, 48)):
        conv(f"head.{name}.0", out_channels, in_channels, 3)
        abn(f"head.{name}.1", out_channels)
    for name, out_channels in (("query", 2), ("key", 2), ("value", 16)):
        conv(f"head.cca.{name}_conv", out_channels, 16, 1, bias=True)
    state["head.cca.gamma"] = torch.tensor([0.7])
    conv("head.bottleneck.3", 5, 16, 1, bias=True)
    conv("dsn.0", 6, 16, 3, bias=True)
    abn("dsn.1", 6)
    conv("dsn.3", 5, 6, 1, bias=True)
    return state


def test_authors_network_with_negative_norm_weights_gives_its_own_answer(tmp_path):
    config = dataclasses.replace(
        load_config("ccnet_r101-d8_authors").with_classes(5),
        backbone=dataclasses.replace(BACKBONE, depths=(1, 1), contract_dilation=False, ceil_mode=True),
        head=HeadConfig(channels=16, negative_slope=0.01),
        auxiliary=AuxiliaryHeadConfig(stage=0, channels=6, conv_bias=True, negative_slope=0.01),
    )
    state = authors_state()
    assert (state["bn1.weight"] < 0).any()
    network = ccnet.CCNet(config).eval()
    fill(network, renamed({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path), what="it")
    pictures = torch.rand(2, 3, 45, 53) * 255
    expected, expected_auxiliary = AuthorsNetwork(state)(network.normalise(pictures))
    with torch.no_grad():
        found = network(pictures)
    torch.testing.assert_close(found.logits, expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.auxiliary_logits, expected_auxiliary, rtol=1e-4, atol=1e-4)


def test_norms_of_an_imagenet_backbone_stay_as_they_are(backbone_state, tmp_path):
    names = {"stem.0": "conv1", "stem.1": "bn1", "stem.3": "conv2", "stem.4": "bn2", "stem.6": "conv3", "stem.7": "bn3"}
    theirs = {
        f"{names.get(n[:6], n[:6])}{n[6:]}": tensor - 0.5 if n.endswith("bn1.weight") else tensor
        for n, tensor in backbone_state.items()
    }
    backbone = ResNet(BACKBONE)
    fill(backbone, renamed(theirs, tmp_path), what="the backbone")
    weight = backbone.layer1[0].bn1.weight
    assert torch.equal(weight, theirs["layer1.0.bn1.weight"])
    assert (weight < 0).any()
