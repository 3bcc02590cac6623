import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import ccnet_core as ccnet
from ccnet_core import hub
from ccnet_core.zoo import load_config


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights", metrics={"miou": 0.5061}, datasets=["camvid"])
    return tmp_path / "weights"


def change_config(folder, **changes):
    content = json.loads((folder / hub.CONFIG_FILE).read_text())
    content.update(changes)
    (folder / hub.CONFIG_FILE).write_text(json.dumps(content))


def change_tensors(folder, change):
    tensors = load_file(folder / hub.WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / hub.WEIGHTS_FILE)


def test_model_comes_back_the_same(tiny, folder, picture):
    loaded = ccnet.CCNet.from_pretrained(folder)
    assert loaded.config == tiny.config
    assert not loaded.training
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    before = ccnet.predict(tiny, picture, scores=True).scores
    assert (ccnet.predict(loaded, picture, scores=True).scores == before).all()


@pytest.mark.parametrize("name", ["ccnet_small", "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"])
def test_every_kind_of_configuration_survives(name, tmp_path):
    config = load_config(name)
    hub.save_folder(tmp_path / "w", config, {"x": torch.zeros(1)}, metrics={}, datasets=[])
    assert hub.read_config(tmp_path / "w") == config


def test_folder_has_four_files_and_a_processor_that_does_nothing_twice(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["config.json", "model.safetensors", "preprocessor_config.json", "README.md"]
    )
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert processor["do_rescale"] is processor["do_normalize"] is False


def test_configuration_names_the_classes_both_ways(folder):
    content = json.loads((folder / "config.json").read_text())
    assert content["model_type"] == "ccnet"
    assert content["id2label"]["3"] == "class 3"
    assert content["label2id"]["class 3"] == 3


def test_card_has_metadata_that_the_hub_reads(folder):
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(metadata)
    assert fields["pipeline_tag"] == "image-segmentation"
    assert fields["datasets"] == ["camvid"]
    (metric,) = fields["model-index"][0]["results"][0]["metrics"]
    assert metric == {"type": "mean_iou", "value": 0.5061}
    assert "from_pretrained" in text


def test_other_number_of_classes_starts_the_classifier_anew(tiny, folder):
    loaded = ccnet.CCNet.from_pretrained(folder, num_classes=7)
    assert loaded.config.num_classes == 7
    assert loaded.head.classify.conv.weight.shape[0] == 7
    assert torch.equal(loaded.head.fuse.conv.weight, tiny.head.fuse.conv.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.fuse.conv.weight"), "1 tensors missing: head.fuse.conv.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 tensors not part of this network: extra"),
        (lambda t: t.update({"head.attention.cca.gamma": torch.zeros(2)}), r"gamma is \(2,\), expected \(1,\)"),
    ],
)
def test_wrong_tensors_are_named(folder, change, message):
    change_tensors(folder, change)
    with pytest.raises(ccnet.WeightsError, match=f"model.safetensors: .*{message}"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"words", "truncated"])
def test_damaged_weights_file_is_named(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content == "truncated" else content)
    with pytest.raises(ccnet.WeightsError, match=r"model\.safetensors: damaged or not a safetensors file"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(ccnet.WeightsError, match=f"{file}: missing"):
        ccnet.CCNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "not a CCNet configuration"),
        ({"format_version": 2}, "written in format 2, this ccnet-core reads 1"),
        ({"align_corner": True}, "unknown key 'align_corner'. Did you mean 'align_corners'"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label must name the classes 0, 1, 2"),
        ({"head": {"channels": "many"}}, "head: channels: expected a whole number"),
    ],
)
def test_wrong_configuration_names_file_and_key(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(ccnet.CCNetError, match=message):
        ccnet.CCNet.from_pretrained(folder)


def test_unreadable_configuration_is_named(folder):
    (folder / "config.json").write_text("{half")
    with pytest.raises(ccnet.WeightsError, match=r"config\.json: cannot be read"):
        ccnet.CCNet.from_pretrained(folder)


def test_saving_again_replaces_the_folder(tiny, folder):
    (folder / "stray").touch()
    tiny.save_pretrained(folder)
    assert not (folder / "stray").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no such folder"),
        ("ccnet_tiny", "there is no such folder"),
        ("../elsewhere", "there is no such folder"),
    ],
)
def test_missing_folder_is_named(source, message):
    with pytest.raises(ccnet.WeightsError, match=f"{source}: {message}"):
        ccnet.CCNet.from_pretrained(source)


def test_file_in_place_of_a_folder_is_named(folder):
    with pytest.raises(ccnet.WeightsError, match=r"this is a file\. Give the folder"):
        ccnet.CCNet.from_pretrained(folder / "model.safetensors")


def test_hub_name_is_read_from_the_clients_cache(folder, tmp_path):
    snapshot = tmp_path / "cache" / "models--org--name" / "snapshots" / ("a" * 40)
    shutil.copytree(folder, snapshot)
    refs = tmp_path / "cache" / "models--org--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    model = ccnet.CCNet.from_pretrained("org/name", cache_dir=tmp_path / "cache", local_files_only=True)
    assert model.config.num_classes == 4


def test_hub_name_that_is_not_cached_is_refused_offline(tmp_path):
    with pytest.raises(ccnet.WeightsError, match="org/name: there is no such folder here, and the Hub did not give it"):
        ccnet.CCNet.from_pretrained("org/name", cache_dir=tmp_path, local_files_only=True)
