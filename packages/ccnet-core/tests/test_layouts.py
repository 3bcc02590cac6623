import json
from pathlib import Path

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.checkpoint import Checkpoint
from ccnet_core.layouts import LAYOUTS, our_name, rename
from ccnet_core.torch_file import StoredTensor
from ccnet_core.zoo import load_config


def checkpoint(*names, **shapes):
    shaped = {**dict.fromkeys(names, (1,)), **shapes}
    tensors = {
        name: StoredTensor(shape=shape, dtype=torch.float32, read=lambda: None) for name, shape in shaped.items()
    }
    return Checkpoint(path=Path("file.pth"), tensors=tensors)


@pytest.mark.parametrize(
    ("layout", "theirs", "ours"),
    [
        ("ccnet", "auxiliary_head.reduce.norm.weight", "auxiliary_head.reduce.norm.weight"),
        ("mmseg", "backbone.stem.0.weight", "backbone.stem.0.weight"),
        ("mmseg", "backbone.conv1.weight", "backbone.stem.0.weight"),
        ("mmseg", "backbone.bn1.running_mean", "backbone.stem.1.running_mean"),
        ("mmseg", "backbone.layer1.0.conv1.weight", "backbone.layer1.0.conv1.weight"),
        ("mmseg", "decode_head.cca.gamma.scale", "head.attention.cca.gamma"),
        ("mmseg", "decode_head.cca.key_conv.bias", "head.attention.cca.key_conv.bias"),
        ("mmseg", "decode_head.something", None),
        ("official", "bn3.running_var", "backbone.stem.7.running_var"),
        ("official", "layer3.22.bn3.bias", "backbone.layer3.22.bn3.bias"),
        ("official", "layer5.weight", None),
        ("official", "head.cca.gamma", "head.attention.cca.gamma"),
        ("official", "head.bottleneck.3.bias", "head.classify.conv.bias"),
        ("official", "dsn.0.bias", "auxiliary_head.reduce.conv.bias"),
        ("mmseg-backbone", "stem.4.running_var", "stem.4.running_var"),
        ("timm", "conv1.6.weight", "stem.6.weight"),
        ("timm", "bn1.weight", "stem.7.weight"),
        ("official-backbone", "conv3.weight", "stem.6.weight"),
        ("torchvision", "bn1.num_batches_tracked", "stem.1.num_batches_tracked"),
        ("torchvision", "layer4.2.downsample.0.weight", "layer4.2.downsample.0.weight"),
    ],
)
def test_names_of_each_program_and_ours(layout, theirs, ours):
    assert our_name(theirs, layout) == ours


@pytest.mark.parametrize(
    ("file", "entry", "layout", "model"),
    [
        ("mmseg_city512.json", None, "mmseg", "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
        ("modules.json", "official_Seg_Model_R2", "official", "ccnet_r101-d8_authors"),
    ],
)
def test_every_tensor_of_the_published_networks_has_its_place(golden, file, entry, layout, model):
    described = json.loads((golden / file).read_text())
    names = [name for name, _, _ in (described[entry] if entry else described)["state_dict"]]
    with torch.device("meta"):
        ours = ccnet.CCNet(load_config(model)).state_dict()
    renamed = rename(checkpoint(*names))
    assert renamed.layout == layout
    assert set(renamed.tensors) == set(ours)
    assert renamed.unknown == ()
    assert renamed.dropped == {}


# What the ResNets of each program have besides blocks, all of which are named alike.
STEMS = {
    "mmseg-backbone": [
        "stem.0.weight",
        "stem.1.weight",
        "stem.3.weight",
        "stem.4.weight",
        "stem.6.weight",
        "stem.7.weight",
    ],
    "timm": ["conv1.0.weight", "conv1.1.weight", "conv1.3.weight", "conv1.4.weight", "conv1.6.weight", "bn1.weight"],
    "official-backbone": ["conv1.weight", "bn1.weight", "conv2.weight", "bn2.weight", "conv3.weight", "bn3.weight"],
    "torchvision": ["conv1.weight", "bn1.weight"],
}


@pytest.mark.parametrize("layout", STEMS)
@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
def test_backbone_keeps_all_but_the_imagenet_classifier(layout, classifier):
    names = [*STEMS[layout], "layer1.0.conv1.weight", f"{classifier}.weight", f"{classifier}.bias"]
    renamed = rename(checkpoint(*names))
    assert renamed.layout == layout
    stem = [f"stem.{place}.weight" for place in (0, 1, 3, 4, 6, 7)][: len(STEMS[layout])]
    assert list(renamed.tensors) == [*stem, "layer1.0.conv1.weight"]
    assert renamed.dropped == dict.fromkeys(names[-2:], "the ImageNet classifier")
    assert renamed.unknown == ()


def test_tensors_that_a_layout_does_not_have_are_listed():
    renamed = rename(checkpoint("conv1.weight", "bn1.weight", "fcc.weight", "layer10.weight"))
    assert renamed.unknown == ("fcc.weight", "layer10.weight")


def test_two_tensors_for_one_place_are_not_both_taken():
    renamed = rename(checkpoint("decode_head.conv_seg.weight", "backbone.stem.0.weight", "backbone.conv1.weight"))
    assert renamed.unknown == ("backbone.conv1.weight",)


def test_layout_asked_for_must_be_that_of_the_file():
    file = checkpoint("conv1.weight")
    assert rename(file, "torchvision").layout == "torchvision"
    with pytest.raises(ccnet.WeightsError, match=r"file\.pth: not of the layout 'mmseg', but of 'torchvision'"):
        rename(file, "mmseg")
    with pytest.raises(ccnet.ConfigError, match=r"There is no layout 'mmsge'. Did you mean 'mmseg'"):
        rename(file, "mmsge")


def test_file_of_no_known_layout_says_what_it_has():
    with pytest.raises(ccnet.WeightsError, match="of none of the known layouts") as caught:
        rename(checkpoint("encoder.weight", "decoder.weight"))
    assert all(name in str(caught.value) for name in LAYOUTS)
    assert "'encoder.weight', 'decoder.weight'" in str(caught.value)


def test_average_pooling_in_the_shortcuts_is_refused():
    file = checkpoint("conv1.0.weight", **{"layer2.0.downsample.1.weight": (512, 256, 1, 1)})
    with pytest.raises(
        ccnet.WeightsError, match=r"a ResNet-D: it has average pooling in its shortcuts \('layer2\.0\.down"
    ):
        rename(file)
