import dataclasses
import json

import pytest

import ccnet_core as ccnet
from ccnet_core import strict
from ccnet_core.backbone_config import BackboneConfig, BackboneSource, HubBackboneConfig, cut, depth
from ccnet_core.config import CCNetConfig
from ccnet_core.zoo import load_config

SWIN = {"model_type": "swin", "depths": [1, 2, 3], "num_heads": [1, 2, 4], "patch_size": 4}
CONVNEXT = {
    **{"model_type": "convnextv2", "depths": [1, 1, 1], "hidden_sizes": [8, 16, 32]},
    **{"num_stages": 3, "patch_size": 4},
}
DINO = {"model_type": "dinov2", "num_hidden_layers": 5, "patch_size": 14}


@pytest.mark.parametrize(("settings", "stages", "stride"), [(SWIN, (3,), 16), (CONVNEXT, (2, 3), 16), (DINO, (5,), 14)])
def test_stride_is_that_of_the_last_stage(settings, stages, stride):
    config = HubBackboneConfig(settings=settings, stages=stages)
    assert (config.depth, config.maps, config.stride) == (stages[-1], len(stages), stride)


@pytest.mark.parametrize("settings", [SWIN, CONVNEXT, DINO])
def test_cut_leaves_the_first_stages(settings):
    shorter = cut(settings, 2)
    assert depth(shorter) == 2
    assert HubBackboneConfig(settings=shorter, stages=(2,)).depth == 2
    assert depth(settings) > 2


def test_configuration_comes_back_from_json_as_the_kind_that_it_is():
    hub = HubBackboneConfig(settings=SWIN, stages=(2, 3), hub="org/name", revision="v1")
    for backbone in (hub, BackboneConfig()):
        config = dataclasses.replace(load_config("ccnet_tiny"), backbone=backbone)
        mapping = json.loads(json.dumps(config.to_mapping()))
        assert strict.from_mapping(CCNetConfig, mapping, where="here") == config


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"dephts": [1]}, r"backbone: unknown key 'dephts'\. Did you mean 'depths'"),
        ({"hub": "org/name"}, "backbone: the key 'settings' is missing"),
        ({"settings": SWIN, "stages": [3], "width": 3}, r"backbone: unknown key 'width'"),
    ],
)
def test_error_is_about_the_kind_that_was_meant(backbone, message):
    mapping = {**load_config("ccnet_tiny").to_mapping(), "backbone": backbone}
    with pytest.raises(ccnet.ConfigError, match=message):
        strict.from_mapping(CCNetConfig, mapping, where="here")


@pytest.mark.parametrize(
    ("change", "stages", "message"),
    [
        ({"model_type": "swim"}, (3,), r"'swim' is no backbone that is known here\. Did you mean 'swin'"),
        ({"model_type": ["swin"]}, (3,), "is no backbone that is known here"),
        ({}, (), "stages must be one or two, the last of them 3"),
        ({}, (2,), "stages must be one or two, the last of them 3"),
        ({}, (3, 2), "stages must be one or two"),
        ({}, (0, 3), "stages must be one or two"),
        ({}, (1, 2, 3), "stages must be one or two"),
        ({"num_heads": [1]}, (3,), r"settings\.num_heads needs one number per stage"),
        ({"depths": 3}, (3,), r"settings\.depths needs one number per stage"),
        ({"depths": [1, 2, 257]}, (3,), "depths must be whole numbers from 1 to 256"),
        ({"embed_dim": 10**9}, (3,), "numbers up to 65536"),
        ({"embed_dim": float("nan")}, (3,), "numbers up to 65536"),
        ({"quantization_config": {"bits": 4}}, (3,), "must be texts and numbers"),
        ({"patch_size": [4, 4]}, (3,), "patch_size must be a whole number"),
        ({"patch_size": 0}, (3,), "patch_size must be whole numbers from 1"),
        ({"num_channels": 1}, (3,), "num_channels must be 3"),
        ({"use_absolute_embeddings": True}, (3,), "fixes the size of pictures"),
    ],
)
def test_impossible_backbone_says_what_is_wrong(change, stages, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        HubBackboneConfig(settings=SWIN | change, stages=stages)


def test_layers_of_dinov2_are_counted():
    for count in (257, "5", None, True):
        with pytest.raises(ccnet.ConfigError, match=r"depths must be whole|num_hidden_layers must be a whole number"):
            HubBackboneConfig(settings=DINO | {"num_hidden_layers": count}, stages=(5,))


@pytest.mark.parametrize(
    "wrong", [{"hub": ""}, {"hub": 3}, {"hub": "a/b", "out_stage": 0}, {"hub": "a/b", "out_stage": 1.5}]
)
def test_source_that_is_none_is_refused(wrong):
    with pytest.raises(ccnet.ConfigError, match=r"backbone\."):
        BackboneSource(**wrong)


def test_auxiliary_head_takes_one_of_the_feature_maps():
    config, head = load_config("ccnet_tiny"), ccnet.config.AuxiliaryHeadConfig
    backbone = HubBackboneConfig(settings=SWIN, stages=(2, 3))
    assert dataclasses.replace(config, backbone=backbone, auxiliary=head(stage=1)).backbone == backbone
    with pytest.raises(ccnet.ConfigError, match=r"auxiliary\.stage 2 is not a stage of the backbone"):
        dataclasses.replace(config, backbone=backbone, auxiliary=head(stage=2))
