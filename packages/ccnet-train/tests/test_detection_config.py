import dataclasses

import pytest

from ccnet_core import ConfigError
from ccnet_core.config import BackboneConfig, default_palette
from ccnet_train.detection import DetectorConfig, list_detectors
from ccnet_train.detection.config import load_config, object_palette

SMALL = BackboneConfig(block="basic", depths=(1, 1, 2), strides=(1, 2, 2), dilations=(1, 1, 1), width=8)


def config(**changes):
    return DetectorConfig(**{"name": "tried", "classes": ("cat", "dog"), "palette": default_palette(2), **changes})


def test_every_name_gives_a_configuration_for_cocos_classes():
    assert list_detectors() == ["maskrcnn_r50_fpn", "maskrcnn_r101_fpn", "maskrcnn_r18_fpn", "maskrcnn_tiny"]
    for name in list_detectors():
        found = load_config(name)
        assert (found.name, found.num_classes, found.task) == (name, 80, "instances")
        assert found.classes[0] == "person"
        assert found.classes[-1] == "toothbrush"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match=r"There is no Mask R-CNN 'maskrcnn_r50'\. Did you mean 'maskrcnn_r50_fpn'"):
        load_config("maskrcnn_r50")


def test_the_defaults_are_the_papers_two_steps_before_the_last_block_of_layer3():
    found = load_config("maskrcnn_r50_fpn")
    assert (found.attention, found.recurrence, found.stage) == ("criss_cross", 2, "layer3")
    assert (found.min_size, found.max_size) == (800, 1333)


def test_other_classes_come_with_other_colours():
    found = config().with_classes(["ant", "bee", "cow"])
    assert found.classes == ("ant", "bee", "cow")
    assert found.palette == object_palette(3) == default_palette(4)[1:]
    assert config().with_classes() == config()


def test_attention_is_replaced_in_kind_or_number():
    assert config().with_attention("non_local", 1) == config(attention="non_local", recurrence=1)
    assert config().with_attention(None, 0) == config(recurrence=0)
    assert config(attention="non_local").with_attention() == config(attention="non_local")


WRONG = {
    "a model needs at least one class": {"classes": (), "palette": ()},
    "backbone must be one of resnet18, resnet50, resnet101, got 'vgg'": {"backbone": "vgg"},
    "norm must be 'frozen' or 'batch', got 'group'": {"norm": "group"},
    "a backbone of ccnet-core has norm 'batch'": {"backbone": SMALL, "anchor_sizes": (8, 16, 32, 64)},
    "norm_epsilon must be from 0 to below 1, got -1": {"norm_epsilon": -1},
    "attention must be 'criss_cross' or 'non_local', got 'none'": {"attention": "none"},
    "recurrence must be a whole number from 0 to 256, got -1": {"recurrence": -1},
    "stage must be one of layer1, layer2, layer3, layer4, got 'res4'": {"stage": "res4"},
    "a pyramid over 4 stages has 5 levels, anchor_sizes 1": {"anchor_sizes": (32,)},
    "channels must be whole numbers from 1": {"channels": 0},
    "mask_convolutions must be whole numbers from 1 to 256": {"mask_convolutions": 257},
    "proposals must be whole numbers from 1": {"proposals": (0, 1)},
    "max_size 700 is below min_size 800": {"max_size": 700},
    "score_threshold must be from 0 to below 1, got 1": {"score_threshold": 1},
    "nms_threshold must be above 0 and at most 1, got 2": {"nms_threshold": 2},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_no_network_can_be_built_from_is_refused(message):
    with pytest.raises(ConfigError, match=message):
        config(**WRONG[message])


def test_a_backbone_of_core_has_a_level_more_than_stages():
    found = config(backbone=SMALL, norm="batch", anchor_sizes=(8, 16, 32, 64))
    with pytest.raises(ConfigError, match="stage must be one of layer1, layer2, layer3, got 'layer4'"):
        dataclasses.replace(found, stage="layer4")
