import dataclasses

import pytest

import ccnet_core as ccnet
from ccnet_core.config import BackboneConfig, CCNetConfig, HeadConfig, default_palette
from ccnet_core.zoo import load_config


def test_other_classes_drop_the_published_figures():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_classes() == config
    changed = config.with_classes(classes=["road", "rest"])
    assert changed.classes == ("road", "rest")
    assert changed.published is None
    assert len(changed.palette) == 2


def test_default_palette_is_pascal_vocs():
    assert default_palette(5) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert default_palette(21) == load_config("ccnet_r50-d8_4xb4-20k_voc12aug-512x512").palette


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BackboneConfig(depths=(1, 2)), "one value per stage"),
        (lambda: HeadConfig(channels=100), "multiple of reduction"),
        (lambda: HeadConfig(recurrence=-1), "recurrence must be 0 or more"),
        (lambda: HeadConfig(kernel_size=2), "kernel_size must be odd"),
        (lambda: ccnet.InferencePlan(mode="slide"), "needs crop"),
        (lambda: ccnet.InferencePlan(mode="tile"), "'whole' or 'slide', got 'tile'"),
        (lambda: ccnet.InferencePlan(mode="slide", crop=(4, 4), stride=(5, 4)), "stride"),
        (lambda: ccnet.InferencePlan(scales=(0.0,)), "scales must be positive"),
        (lambda: ccnet.InferencePlan(resize="plan"), "needs base_scale"),
        (lambda: CCNetConfig(name="x", classes=("a",), palette=()), "1 classes but 0 palette colours"),
        (lambda: CCNetConfig(name="x", classes=(), palette=()), "at least one class"),
        (lambda: CCNetConfig(name="x", classes=("a", "a"), palette=((0, 0, 0),) * 2), "same name"),
        (lambda: CCNetConfig(name="x", classes=("a",), palette=((0, 0, 256),)), "from 0 to 255"),
    ],
)
def test_impossible_configuration_says_what_is_wrong(build, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        build()


def test_configuration_is_frozen():
    config = load_config("ccnet_tiny")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"
