import dataclasses

import pytest

import ccnet_core as ccnet
from ccnet_core.config import (
    AuxiliaryHeadConfig,
    BackboneConfig,
    CCNetConfig,
    HubBackboneConfig,
    PixelStatistics,
)
from ccnet_core.zoo import load_config


def test_other_classes_drop_the_published_figures():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_classes() == config
    changed = config.with_classes(classes=["road", "rest"])
    assert changed.classes == ("road", "rest")
    assert changed.published is None
    assert len(changed.palette) == 2


def test_as_many_classes_keep_their_names_and_figures():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_classes(num_classes=19) == config


def test_another_recurrence_drops_the_published_figures():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_recurrence(2).published == config.published
    assert config.with_recurrence(1).published is None


def test_another_attention_drops_the_published_figures():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_attention("criss_cross") == config
    changed = config.with_attention("non_local")
    assert (changed.head.attention, changed.published) == ("non_local", None)


def test_clips_drop_the_published_figures_and_make_another_task():
    config = load_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024")
    assert config.with_frames(1) == config
    changed = config.with_frames(5)
    assert (changed.head.frames, changed.published) == (5, None)
    assert (config.task, changed.task) == ("segmentation", "video")


def test_pairs_of_classes_belong_to_their_names():
    config = dataclasses.replace(load_config("ccnet_tiny"), flip_pairs=((14, 15), (0, 16)))
    assert config.with_classes() == config
    assert config.with_classes(palette=[(0, 0, 0)] * 19).flip_pairs == ((14, 15), (0, 16))
    assert config.with_classes(num_classes=18).flip_pairs == ()


SWIN = HubBackboneConfig(
    settings={"model_type": "swin", "depths": [1, 1], "num_heads": [1, 2], "patch_size": 4}, stages=(2,)
)


def parsing(**changes):
    return dataclasses.replace(load_config("ccnet_small_ce2p"), **changes)


def paired(*pairs):
    return dataclasses.replace(load_config("ccnet_tiny"), flip_pairs=pairs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BackboneConfig(depths=(1, 2)), "one value per stage"),
        (lambda: BackboneConfig(depths=(257, 1, 1, 1)), "depths must be whole numbers from 1 to 256, got 257, 1"),
        (lambda: BackboneConfig(depths=(1,) * 5, strides=(1,) * 5, dilations=(1,) * 5), "1 to 4 stages, depths has 5"),
        (lambda: load_config("ccnet_tiny").with_classes(classes=["\ud800"]), "class names must be text"),
        (lambda: BackboneConfig(block="bottlneck"), "block must be 'basic' or 'bottleneck', got 'bottlneck'"),
        (lambda: BackboneConfig(width=-4), "width must be whole numbers from 1 to 65536, got -4"),
        (lambda: BackboneConfig(depths=(1, 0, 1, 1)), "depths must be whole numbers from 1"),
        (lambda: PixelStatistics(std=(0.0, 1.0, 1.0)), "std must be above 0"),
        (lambda: PixelStatistics(mean=(float("nan"), 1.0, 1.0)), "mean must be three numbers"),
        (lambda: PixelStatistics(channel_order="BGR"), "channel_order must be 'rgb' or 'bgr', got 'BGR'"),
        (
            lambda: load_config("ccnet_tiny").with_classes("3"),
            "num_classes must be a whole number from 1 to 65536, got '3'",
        ),
        (
            lambda: load_config("ccnet_tiny").with_classes(0),
            "num_classes must be a whole number from 1 to 65536, got 0",
        ),
        (lambda: load_config("ccnet_tiny").with_classes(10**9), "num_classes must be a whole number from 1 to 65536"),
        (lambda: load_config("ccnet_tiny").with_classes(classes=5), "classes must be a list of names, got 5"),
        (lambda: load_config("ccnet_tiny").with_classes(palette=[1]), r"palette must be a list of colours, got \[1\]"),
        (lambda: load_config("ccnet_tiny").with_classes(classes="road"), "a list of names, got 'road'"),
        (lambda: load_config("ccnet_tiny").with_classes(classes=[1]), "class names must be text"),
        (lambda: load_config("ccnet_tiny").with_classes(1, palette=[(0, 0)]), "three whole numbers from 0 to 255"),
        (lambda: CCNetConfig(name="x", classes=("a",), palette=()), "1 classes but 0 palette colours"),
        (lambda: paired((0, 19)), r"flip_pairs must be pairs of classes from 0 to 18, got \(\(0, 19\),\)"),
        (lambda: paired((-1, 2)), "flip_pairs must be pairs of classes from 0 to 18"),
        (lambda: paired((0, True)), "flip_pairs must be pairs of classes from 0 to 18"),
        (lambda: paired((0, 1, 2)), "flip_pairs must be pairs of classes from 0 to 18"),
        (lambda: paired(3), r"flip_pairs must be pairs of classes from 0 to 18, got \(3,\)"),
        (lambda: paired((3, 3)), "flip_pairs names a class twice"),
        (lambda: paired((3, 4), (5, 3)), "flip_pairs names a class twice"),
        (lambda: parsing(auxiliary=AuxiliaryHeadConfig()), "parsing has a first prediction of its own.*Leave auxil"),
        (lambda: parsing(backbone=load_config("ccnet_small").backbone), "a backbone of four stages, got 3"),
        (lambda: parsing(backbone=SWIN), "parsing takes the maps of a ResNet"),
        (lambda: load_config("ccnet_small_ce2p").with_frames(5), "parsing takes pictures, got frames 5"),
        (lambda: CCNetConfig(name="x", classes=(), palette=()), "at least one class"),
        (lambda: CCNetConfig(name="x", classes=("a", "a"), palette=((0, 0, 0),) * 2), "same name"),
        (lambda: CCNetConfig(name="x", classes=("a",), palette=((0, 0, 256),)), "three whole numbers from 0 to 255"),
    ],
)
def test_impossible_configuration_says_what_is_wrong(build, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        build()


def test_configuration_is_frozen():
    config = load_config("ccnet_tiny")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"
