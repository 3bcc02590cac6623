"""Every setting of the sixteen models, read from mmsegmentation's own configuration files."""

import pytest
import torch
import yaml
from mmseg.models.backbones import ResNetV1c
from mmseg.registry import MODELS
from mmseg.utils import get_classes, get_palette
from mmseg_peer import CONFIGS, our_name, settings_of
from torch import nn

import ccnet_core as ccnet
from ccnet_core.zoo import load_config

SIXTEEN = sorted(path.stem for path in CONFIGS.glob("*.py"))


def test_the_first_sixteen_models_are_mmsegmentations():
    assert sorted(ccnet.list_models()[:16]) == SIXTEEN


@pytest.mark.parametrize("name", SIXTEEN)
def test_network(name):
    theirs, ours = settings_of(name).model, load_config(name)
    backbone, head, auxiliary = theirs.backbone, theirs.decode_head, theirs.auxiliary_head
    assert (theirs.type, backbone.type, head.type, auxiliary.type) == (
        "EncoderDecoder",
        "ResNetV1c",
        "CCHead",
        "FCNHead",
    )
    assert ours.backbone.depths == ResNetV1c.arch_settings[backbone.depth][1]
    for key in ("strides", "dilations", "contract_dilation"):
        assert getattr(ours.backbone, key) == backbone[key]
    assert (head.in_index, auxiliary.in_index) == (3, ours.auxiliary.stage)
    assert (head.channels, auxiliary.channels) == (ours.head.channels, ours.auxiliary.channels)
    assert (head.dropout_ratio, auxiliary.dropout_ratio) == (ours.head.dropout, ours.auxiliary.dropout)
    assert head.num_classes == auxiliary.num_classes == ours.num_classes
    assert head.align_corners == auxiliary.align_corners == ours.align_corners
    assert head.recurrence == ours.head.recurrence
    assert (head.loss_decode.loss_weight, auxiliary.loss_decode.loss_weight) == (1.0, 0.4)


@pytest.mark.parametrize("name", SIXTEEN)
def test_pictures_and_inference(name):
    settings, ours = settings_of(name), load_config(name)
    pixels = settings.model.data_preprocessor
    assert (tuple(pixels.mean), tuple(pixels.std)) == (ours.pixels.mean, ours.pixels.std)
    assert pixels.bgr_to_rgb
    assert ours.pixels.channel_order == "rgb"
    test = settings.model.test_cfg
    assert test.mode == ours.inference.mode
    assert (test.get("crop_size"), test.get("stride")) == (ours.inference.crop, ours.inference.stride)
    (resize,) = (step for step in settings.test_pipeline if step.type == "Resize")
    assert resize.keep_ratio
    assert resize.scale == ours.inference.base_scale


@pytest.mark.parametrize("name", SIXTEEN)
def test_classes_and_what_was_published(name):
    settings, ours = settings_of(name), load_config(name)
    dataset = {"cityscapes": "cityscapes", "ade20k": "ade", "voc12aug": "voc"}[ours.published.dataset]
    # mmsegmentation writes "bed " with a space behind it.
    assert list(ours.classes) == [label.strip() for label in get_classes(dataset)]
    assert [list(colour) for colour in ours.palette] == get_palette(dataset)
    assert settings.crop_size == ours.published.crop
    assert settings.train_cfg.max_iters == ours.published.iterations
    entries = yaml.safe_load((CONFIGS / "metafile.yaml").read_text())["Models"]
    (entry,) = (entry for entry in entries if entry["Name"] == name)
    metrics = entry["Results"]["Metrics"]
    assert (metrics["mIoU"], metrics["mIoU(ms+flip)"]) == (ours.published.miou, ours.published.miou_ms_flip)
    assert entry["Weights"] == ours.published.checkpoint


@pytest.mark.parametrize("name", SIXTEEN)
def test_names_and_shapes_of_all_tensors(name):
    with torch.device("meta"):
        theirs, ours = MODELS.build(settings_of(name).model), ccnet.CCNet.from_config(name)
    expected = {our_name(key): tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}
    # The authors' shape of gamma: one number in a list.
    expected["head.attention.cca.gamma"] = (1,)
    assert {key: tuple(tensor.shape) for key, tensor in ours.state_dict().items()} == expected


def test_dropout_takes_whole_channels_in_both_heads():
    name = "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"
    theirs, ours = MODELS.build(settings_of(name).model), ccnet.CCNet.from_config(name)
    for head in (theirs.decode_head, theirs.auxiliary_head):
        assert type(head.dropout) is nn.Dropout2d
    for head in (ours.head, ours.auxiliary_head):
        assert type(head.classify.dropout) is nn.Dropout2d
