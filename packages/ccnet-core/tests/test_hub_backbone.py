"""ConvNeXt V2, Swin and DINOv2 of transformers under our head, small and with random weights."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ccnet_core as ccnet
from ccnet_core.backbone_config import HubBackboneConfig
from ccnet_core.config import AuxiliaryHeadConfig
from ccnet_core.export.graph import Deployed
from ccnet_core.hub_backbone import library_config

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from transformers import AutoBackbone

SETTINGS = {
    "convnextv2": {"depths": [1, 1, 2], "hidden_sizes": [8, 16, 24], "num_stages": 3, "patch_size": 4},
    "swin": {
        **{"depths": [1, 2, 1], "num_heads": [1, 2, 2], "embed_dim": 8, "window_size": 4},
        **{"image_size": 32, "patch_size": 4, "drop_path_rate": 0.0},
    },
    "dinov2": {
        **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2},
        **{"image_size": 56, "patch_size": 14, "use_mask_token": False},
    },
}
STRIDES = {"convnextv2": 16, "swin": 16, "dinov2": 14}


def build(kind, enliven, **settings):
    backbone = HubBackboneConfig(settings={"model_type": kind, **SETTINGS[kind], **settings}, stages=(2, 3))
    config = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4).config
    auxiliary = AuxiliaryHeadConfig(stage=0, channels=8)
    torch.manual_seed(0)
    return enliven(ccnet.CCNet(dataclasses.replace(config, backbone=backbone, auxiliary=auxiliary))).eval()


@pytest.fixture(params=SETTINGS)
def kind(request):
    return request.param


@pytest.fixture
def network(kind, enliven):
    return build(kind, enliven)


def pixels(height, width, batch=2):
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("size", [(56, 112), (33, 47), (1, 1), (113, 15)])
def test_logits_have_the_backbones_stride_rounded_up(network, kind, size):
    output = network(pixels(*size))
    cells = tuple(-(-edge // STRIDES[kind]) for edge in size)
    assert output.logits.shape == (2, 4, *cells)
    assert network.backbone.stride == STRIDES[kind]
    assert output.auxiliary_logits.shape[:2] == (2, 4)
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("size", [(112, 224), (33, 47)])
def test_answer_is_that_of_autobackbone_and_the_head_by_hand(network, size):
    image, settings = pixels(*size), network.config.backbone
    theirs = AutoBackbone.from_config(library_config(settings)).eval()
    theirs.load_state_dict(network.backbone.network.state_dict(), strict=settings.settings["model_type"] != "swin")
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (network.config.pixels.mean, network.config.pixels.std)
    )
    x, stride = (image - mean) / std, settings.stride
    enlarged = tuple(edge + -edge % stride for edge in size)
    maps = theirs(F.interpolate(x, enlarged, mode="bilinear") if enlarged != size else x).feature_maps
    head = network.head
    reduced = head.reduce(maps[-1])
    for _ in range(network.config.head.recurrence):
        reduced = head.attention.cca(reduced)
    fused = head.fuse(torch.cat([maps[-1], head.refine(reduced)], 1))
    output = network(image)
    torch.testing.assert_close(output.logits, head.classify.conv(fused), rtol=1e-5, atol=1e-5)
    auxiliary = network.auxiliary_head(maps[0])
    torch.testing.assert_close(output.auxiliary_logits, auxiliary, rtol=1e-5, atol=1e-5)


def test_feature_map_covers_the_picture_to_its_edge(network):
    # Of a picture 1.5 cells wide, the last pixel is seen by the last cell, and the map is as wide as the picture.
    stride = network.backbone.stride
    image = pixels(stride, stride + stride // 2, batch=1).float().requires_grad_()
    cells = network.features(image)[-1][..., -1]
    (cells * torch.randn(cells.shape)).sum().backward()  # a plain sum is constant behind a layer norm
    assert image.grad[..., -1].abs().sum() > 0


def test_gradient_reaches_every_parameter(network):
    output = network.train()(pixels(40, 61))
    (output.logits.square().sum() + output.auxiliary_logits.square().sum()).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    silent = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    # A bias before a batch norm, and one of all keys of a softmax, changes nothing.
    assert all(name.endswith((".bias", "key_conv.bias")) for name in silent)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_folder_needs_nothing_else(network, tmp_path, dtype):
    network.to(dtype).save_pretrained(tmp_path / "weights")
    loaded = ccnet.CCNet.from_pretrained(tmp_path / "weights", dtype=dtype)
    assert loaded.config == network.config
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert torch.equal(loaded(pixels(33, 47)).logits, network(pixels(33, 47)).logits)


def test_network_made_without_memory_answers_when_it_has_its_weights(network):
    with torch.device("meta"):
        other = ccnet.CCNet(network.config)
    other.to_empty(device="cpu")
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.eval()(pixels(33, 47)).logits, network(pixels(33, 47)).logits)


def test_prediction_works_by_every_plan(network, picture):
    whole = ccnet.predict(network, picture, scores=True)
    expected = network.resize_logits(network(torch.from_numpy(picture).permute(2, 0, 1)[None]).logits, (37, 51))
    np.testing.assert_allclose(whole.scores, expected[0].detach(), rtol=1e-4, atol=1e-4)
    slide = ccnet.predict(network, picture, mode="slide", crop=(28, 28), stride=(14, 14), flip=True, scales=(0.5, 1.0))
    assert slide.labels.shape == (37, 51)
    assert ccnet.predict(network, picture[:1, :1]).labels.shape == (1, 1)
    attended = ccnet.attention_map(network, picture, point=(50, 36))
    assert attended.shape == network.features(torch.from_numpy(picture).permute(2, 0, 1)[None])[-1].shape[2:]
    assert attended.sum() == pytest.approx(1, abs=1e-5)


def test_twin_for_prediction_agrees(network):
    assert network.optimized().agreement.logits < 1e-5


def test_command_predicts_with_such_a_folder(network, run, photo, tmp_path):
    network.save_pretrained(tmp_path / "weights")
    done = run("predict", photo, "--model", tmp_path / "weights", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) >= 2


def test_no_file_is_exported(network):
    with pytest.raises(ccnet.CCNetError, match="its backbone is one of transformers"):
        Deployed(network, "labels")


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_frozen_stages_get_no_gradient_and_stay_in_evaluation_mode(network, stages):
    network.freeze(stages=stages)
    network.train()(pixels(32, 32)).logits.sum().backward()
    frozen = network.backbone.parts()[: stages + 1]
    assert len(network.backbone.parts()) == 4
    assert not any(part.training for part in frozen)
    kept = {id(parameter) for part in frozen for parameter in part.parameters()}
    assert kept
    for parameter in network.backbone.parameters():
        assert parameter.requires_grad == (id(parameter) not in kept)
    network.freeze()
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_such_a_backbone_has_not_is_refused(network):
    with pytest.raises(ccnet.ConfigError, match=r"this backbone has no batch norm\. Leave batch_norm out"):
        network.freeze(batch_norm=True)
    with pytest.raises(ccnet.ConfigError, match="stages must be from 0 to 3"):
        network.freeze(stages=4)


def test_checkpointed_activations_give_the_same_gradients(network, kind):
    if kind == "convnextv2":
        with pytest.raises(ccnet.ConfigError, match="transformers cannot compute activations of convnextv2 twice"):
            network.checkpoint_activations()
        return
    gradients = []
    for enabled in (False, True, False):
        copied = copy.deepcopy(network).train()
        copied.checkpoint_activations(enabled)
        torch.manual_seed(1)
        copied(pixels(32, 32)).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in copied.named_parameters() if p.grad is not None})
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("swin", {"windowsize": 7}, r"settings: unknown key 'windowsize'\. Did you mean 'window_size'"),
        ("swin", {"window_size": "seven"}, "No backbone can be built from these settings"),
        ("convnextv2", {"hidden_act": "no such"}, "No backbone can be built from these settings"),
    ],
)
def test_settings_that_fit_no_network_are_refused(enliven, kind, change, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        build(kind, enliven, **change)


@pytest.mark.parametrize(
    "change", [{"embed_dim": 65536}, {"depths": [256, 1, 1]}, {"window_size": 60000}, {"mlp_ratio": 65536}]
)
def test_sizes_that_the_file_does_not_have_are_refused(enliven, tmp_path, little_memory, change):
    build("swin", enliven).save_pretrained(tmp_path / "weights")
    path = tmp_path / "weights" / "config.json"
    content = json.loads(path.read_text())
    content["backbone"]["settings"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ccnet.CCNetError, match=r"model\.safetensors: |No backbone can be built"):
        ccnet.CCNet.from_pretrained(tmp_path / "weights")


def test_missing_extra_says_what_to_install(enliven, monkeypatch):
    monkeypatch.setattr("ccnet_core.hub_backbone.find_spec", lambda _: None)
    with pytest.raises(ccnet.ConfigError, match=r'python -m pip install "ccnet-core\[transformers\]"'):
        build("swin", enliven)
