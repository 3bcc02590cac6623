import dataclasses
import json

import pytest
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import ccnet_core as ccnet
from ccnet_core import weights_folder
from ccnet_core.zoo import load_config


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights", metrics={"miou": 0.5061}, datasets=["camvid"])
    return tmp_path / "weights"


def change_config(folder, **changes):
    content = json.loads((folder / weights_folder.CONFIG_FILE).read_text())
    content.update(changes)
    (folder / weights_folder.CONFIG_FILE).write_text(json.dumps(content))


def change_tensors(folder, change):
    tensors = load_file(folder / weights_folder.WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / weights_folder.WEIGHTS_FILE)


def test_model_comes_back_the_same(tiny, folder, picture):
    loaded = ccnet.CCNet.from_pretrained(folder)
    assert loaded.config == tiny.config
    assert not loaded.training
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    before = ccnet.predict(tiny, picture, scores=True).scores
    assert (ccnet.predict(loaded, picture, scores=True).scores == before).all()


@pytest.mark.parametrize("name", ["ccnet_small", "ccnet_r50-d8_4xb2-40k_cityscapes-769x769"])
def test_every_kind_of_configuration_survives_without_the_figures_of_published_weights(name, tmp_path):
    config = load_config(name)
    weights_folder.save_folder(tmp_path / "w", config, {"x": torch.zeros(1)}, metrics={}, datasets=[])
    assert weights_folder.read_config(tmp_path / "w") == dataclasses.replace(config, published=None)


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


@pytest.mark.parametrize(("change", "count"), [({"num_classes": 7}, 7), ({"classes": ["a", "b", "c", "d"]}, 4)])
def test_other_classes_start_the_classifier_anew_and_say_so(tiny, folder, caplog, change, count):
    loaded = ccnet.CCNet.from_pretrained(folder, **change)
    assert loaded.config.num_classes == count
    assert loaded.head.classify.conv.weight.shape[0] == count
    assert loaded.head.classify.conv.weight.std() < 0.02  # the stored one has 0.5
    assert torch.equal(loaded.head.fuse.conv.weight, tiny.head.fuse.conv.weight)
    assert "its classifiers start at random" in caplog.text


def test_same_classes_keep_the_classifier(tiny, folder, caplog):
    for change in ({}, {"num_classes": 4}, {"classes": list(tiny.config.classes)}):
        loaded = ccnet.CCNet.from_pretrained(folder, **change)
        assert torch.equal(loaded.head.classify.conv.weight, tiny.head.classify.conv.weight)
    assert caplog.text == ""


def test_half_precision_weights_load_and_other_kinds_of_numbers_do_not(folder):
    def cast(dtype):
        return lambda tensors: tensors.update({"head.classify.conv.bias": tensors["head.classify.conv.bias"].to(dtype)})

    change_tensors(folder, cast(torch.bfloat16))
    ccnet.CCNet.from_pretrained(folder)
    change_tensors(folder, cast(torch.int64))
    with pytest.raises(ccnet.WeightsError, match=r"another kind of number: head\.classify\.conv\.bias is torch\.int64"):
        ccnet.CCNet.from_pretrained(folder)


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


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folder, number):
    change_tensors(folder, lambda tensors: tensors["head.fuse.conv.weight"][3].fill_(number))
    with pytest.raises(ccnet.WeightsError, match=r"1 tensors with NaN or infinite numbers: head\.fuse\.conv\.weight\."):
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
        ({"format_version": True}, "written in format True, this ccnet-core reads 1. Save the folder again"),
        ({"classes": ["a"]}, "unknown key 'classes'. The classes stand in id2label"),
        ({"head": {"channels": "many"}}, "head: channels: expected a whole number"),
        ({"head": {"reduction": 0}}, "config.json: head: reduction must be whole numbers from 1"),
        ({"pixels": {"mean": [float("nan")] * 3}}, "config.json: pixels: mean: expected a number"),
        ({"align_corners": 1}, "config.json: align_corners: expected true or false"),
    ],
)
def test_wrong_configuration_names_file_and_key(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(ccnet.WeightsError, match=message):
        ccnet.CCNet.from_pretrained(folder)


def test_unreadable_configuration_is_named(folder):
    (folder / "config.json").write_text("{half")
    with pytest.raises(ccnet.WeightsError, match=r"config\.json: cannot be read"):
        ccnet.CCNet.from_pretrained(folder)


def test_saving_again_replaces_the_folder(folder):
    other = ccnet.CCNet.from_config("ccnet_tiny", num_classes=2)
    other.save_pretrained(folder)
    assert ccnet.CCNet.from_pretrained(folder).config.num_classes == 2
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_folder_that_cannot_be_written_is_named_and_the_old_one_stays(tiny, folder, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(weights_folder, "save_file", fail)
    with pytest.raises(ccnet.WeightsError, match=r"weights: cannot be written \(No space left on device\)\. Make room"):
        tiny.save_pretrained(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]
    monkeypatch.undo()
    ccnet.CCNet.from_pretrained(folder)


def test_folder_that_holds_anything_else_is_left_alone(tiny, folder):
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ccnet.WeightsError, match=r"holds 'thesis\.txt', which is not part of a weights folder"):
        tiny.save_pretrained(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_file_in_place_of_a_folder_is_named(folder):
    with pytest.raises(ccnet.WeightsError, match=r"this is a file\. Give the folder"):
        ccnet.CCNet.from_pretrained(folder / "model.safetensors")


def test_folder_of_a_run_names_the_weights_in_it(folder, tmp_path):
    folder.rename(tmp_path / "best")
    with pytest.raises(ccnet.WeightsError, match=r"this is the folder of a run\. Give .*best"):
        ccnet.CCNet.from_pretrained(tmp_path)


def test_weights_may_be_read_by_whoever_may_read_their_configuration(folder):
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1
