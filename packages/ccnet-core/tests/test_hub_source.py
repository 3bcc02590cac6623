"""Backbones of transformers from folders, and from a Hub on the loopback interface, into new networks."""

import json

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.backbone_config import BackboneSource

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

NAME = "org/backbone"


def classifier(kind):
    torch.manual_seed(3)
    if kind == "swin":
        return transformers.SwinForImageClassification(
            transformers.SwinConfig(embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=4)
        )
    if kind == "convnextv2":
        return transformers.ConvNextV2ForImageClassification(
            transformers.ConvNextV2Config(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 24, 32])
        )
    return transformers.Dinov2Model(
        transformers.Dinov2Config(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=56)
    )


@pytest.fixture(params=["swin", "convnextv2", "dinov2"])
def folder(request, tmp_path):
    return save(request.param, tmp_path)


@pytest.fixture
def swin(tmp_path):
    return save("swin", tmp_path)


def save(kind, place):
    transformers.utils.logging.disable_progress_bar()
    classifier(kind).save_pretrained(place / kind)
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], "rescale_factor": 1 / 255}
    (place / kind / "preprocessor_config.json").write_text(json.dumps(statistics))
    return place / kind


def build(name="ccnet_tiny", **backbone):
    return ccnet.CCNet.from_config(name, num_classes=4, backbone=backbone)


def test_weights_and_statistics_are_those_of_the_folder(folder):
    network = build(hub=str(folder))
    original = classifier(folder.name)
    stem = original.get_submodule("" if folder.name == "dinov2" else folder.name).embeddings.patch_embeddings
    found = network.backbone.parts()[0].patch_embeddings
    assert all(torch.equal(tensor, stem.state_dict()[name]) for name, tensor in found.state_dict().items())
    assert network.config.pixels.mean == (127.5, 102.0, 76.5)
    assert network.config.pixels.std == (51.0, 63.75, 127.5)
    assert (network.config.backbone.hub, network.config.backbone.stages) == (None, (4,))


def test_auxiliary_head_is_three_quarters_deep(folder):
    network = build("ccnet_r18-d8", hub=str(folder))
    assert network.config.backbone.stages == (3, 4)
    assert network.config.auxiliary.stage == 0


@pytest.mark.parametrize("out_stage", [1, 2])
def test_stages_after_the_one_asked_for_are_left_out(folder, out_stage):
    network, whole = build(hub=str(folder), out_stage=out_stage), build(hub=str(folder))
    assert network.config.backbone.stages == (out_stage,)
    assert len(network.backbone.parts()) == out_stage + 1
    for name, tensor in network.backbone.parts()[0].state_dict().items():
        assert torch.equal(tensor, whole.backbone.parts()[0].state_dict()[name]), name


def test_pretrained_false_starts_at_random(swin):
    (swin / "model.safetensors").unlink()
    weight = build(hub=str(swin), pretrained=False).backbone.parts()[0].patch_embeddings.projection.weight
    assert not torch.equal(weight, classifier("swin").swin.embeddings.patch_embeddings.projection.weight)


def test_repository_is_named_with_its_commit(swin, hub_server):
    files = {path.name: path.read_bytes() for path in swin.iterdir()}
    commit = hub_server.add(NAME, files | {"pytorch_model.bin": b"never fetched"})
    network = build(hub=NAME, revision="main")
    assert (network.config.backbone.hub, network.config.backbone.revision) == (NAME, commit)
    assert not any("pytorch_model" in request.path for request in hub_server.requests)
    expected = build(hub=str(swin)).backbone.state_dict()
    kept = [name for name in expected if "hidden_states_norms" not in name]
    assert all(torch.equal(network.backbone.state_dict()[name], expected[name]) for name in kept)


def test_damaged_weights_of_the_hub_are_refused(swin, hub_server):
    hub_server.add(NAME, {path.name: path.read_bytes() for path in swin.iterdir()})
    hub_server.order("GET /objects", garbled=True, times=99)
    with pytest.raises(ccnet.WeightsError, match="what comes is not what the Hub announced"):
        build(hub=NAME)


def test_weights_folder_needs_neither_repository_nor_network(swin, hub_server, tmp_path):
    hub_server.add(NAME, {path.name: path.read_bytes() for path in swin.iterdir()})
    network = build(hub=NAME).eval()
    network.save_pretrained(tmp_path / "weights")
    hub_server.stop()
    loaded = ccnet.CCNet.from_pretrained(tmp_path / "weights")
    image = torch.randint(0, 256, (1, 3, 33, 47), dtype=torch.uint8)
    assert torch.equal(loaded(image).logits, network(image).logits)


def change(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize("place", ["folder", "hub"])
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "comes with code of its own, which is not run here"),
        ({"model_type": "resnet"}, "model_type 'resnet' is no backbone that is known here"),
    ],
)
def test_other_code_and_other_kinds_are_refused_before_weights_are_fetched(swin, hub_server, place, keys, message):
    change(swin, **keys)
    hub_server.add(NAME, {path.name: path.read_bytes() for path in swin.iterdir()})
    with pytest.raises(ccnet.ConfigError, match=message):
        build(hub=str(swin) if place == "folder" else NAME)
    assert not any("safetensors" in request.path for request in hub_server.requests)


def test_network_for_parsing_keeps_its_resnet(swin):
    with pytest.raises(ccnet.ConfigError, match="parsing takes the maps of a ResNet"):
        build("ccnet_small_ce2p", hub=str(swin))


def test_missing_tensor_is_named(swin):
    from safetensors.torch import load_file, save_file

    tensors = load_file(swin / "model.safetensors")
    name = next(name for name in tensors if "patch_embeddings.projection.weight" in name)
    save_file(
        {key: value for key, value in tensors.items() if key != name}, swin / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ccnet.WeightsError, match=r"lacks 1 tensors of its backbone.*patch_embeddings\.projection"):
        build(hub=str(swin))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"hub": "no/such/folder"}, "there is no such folder"),
        ({"hbu": "org/name"}, r"backbone: unknown key 'hbu'\. Did you mean 'hub'"),
        ({}, "backbone: the key 'hub' is missing"),
    ],
)
def test_what_names_no_backbone_is_refused(backbone, message):
    with pytest.raises(ccnet.CCNetError, match=message):
        build(**backbone)


def test_stage_that_is_not_there_and_damaged_files_are_refused(swin, tmp_path):
    with pytest.raises(ccnet.ConfigError, match="out_stage is 5, and its backbone has 4 stages"):
        build(hub=str(swin), out_stage=5)
    with pytest.raises(ccnet.ConfigError, match="Leave backbone_weights out"):
        ccnet.CCNet.from_config("ccnet_tiny", backbone=BackboneSource(hub=str(swin)), backbone_weights="file.pth")
    (swin / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ccnet.WeightsError, match="no weights of a backbone can be read"):
        build(hub=str(swin))
    (swin / "config.json").unlink()
    with pytest.raises(ccnet.WeightsError, match=r"config\.json: missing\. A backbone's folder holds it"):
        build(hub=str(swin))
