import dataclasses

import pytest

import ccnet_core as ccnet
from ccnet_core.config import BackboneConfig, HeadConfig, InferencePlan, ParsingConfig, PixelStatistics
from ccnet_core.zoo import find_terms, load_config


def test_published_models_come_first_sixteen_of_mmsegmentation_and_the_authors_own():
    names = ccnet.list_models()
    assert len(names) == len(set(names)) == 26
    assert names[16] == "ccnet_r101-d8_authors"
    published = [load_config(name).published for name in names]
    assert all(published[:17])
    assert published[17:] == [None] * 9


@pytest.mark.parametrize("name", ccnet.list_models())
def test_every_model_can_be_described_and_has_its_datasets_classes(name):
    config = load_config(name)
    classes = {"cityscapes": 19, "ade20k": 150, "voc12aug": 21, "lip": 20}
    unpublished = "cityscapes" if config.parsing is None else "lip"
    dataset = config.published.dataset if config.published else unpublished
    assert config.num_classes == classes[dataset]


def test_769_models_slide_and_align_corners():
    config = load_config("ccnet_r101-d8_4xb2-80k_cityscapes-769x769")
    assert config.align_corners
    assert config.inference == ccnet.InferencePlan(
        mode="slide", crop=(769, 769), stride=(513, 513), base_scale=(2049, 1025), resize="plan"
    )


def test_authors_network_differs_where_the_paper_notes_say():
    theirs, ours = load_config("ccnet_r101-d8_authors"), load_config("ccnet_r101-d8_4xb2-80k_cityscapes-769x769")
    assert (theirs.backbone.stem_channels, ours.backbone.stem_channels) == ((64, 64, 128), (32, 32, 64))
    assert (theirs.backbone.ceil_mode, ours.backbone.ceil_mode) == (True, False)
    assert (theirs.backbone.contract_dilation, ours.backbone.contract_dilation) == (False, True)
    assert (theirs.head.negative_slope, ours.head.negative_slope) == (0.01, 0.0)
    assert (theirs.auxiliary.channels, ours.auxiliary.channels) == (512, 256)
    assert (theirs.auxiliary.conv_bias, ours.auxiliary.conv_bias) == (True, False)
    assert (theirs.auxiliary.negative_slope, ours.auxiliary.negative_slope) == (0.01, 0.0)
    assert theirs.pixels == PixelStatistics(
        mean=(104.00698793, 116.66876762, 122.67891434), std=(1.0, 1.0, 1.0), channel_order="bgr"
    )
    assert theirs.align_corners
    assert theirs.inference == ccnet.InferencePlan(mode="slide", crop=(769, 769), stride=(513, 513))


@pytest.mark.parametrize(
    ("depth", "deep"),
    [
        (18, "ccnet_r18-d8"),
        (50, "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
        (101, "ccnet_r101-d8_4xb2-40k_cityscapes-512x1024"),
    ],
)
def test_letter_b_is_the_same_network_with_torchvisions_stem(depth, deep):
    plain, deep = load_config(f"ccnet_r{depth}b-d8"), load_config(deep)
    assert plain.backbone == dataclasses.replace(deep.backbone, stem_channels=(64,))
    assert (plain.head, plain.auxiliary) == (deep.head, deep.auxiliary)


@pytest.mark.parametrize("depth", [50, 101])
def test_parsing_networks_have_the_backbone_and_the_widths_of_ce2p(depth):
    config = load_config(f"ccnet_r{depth}-d16_ce2p")
    assert config.backbone == BackboneConfig(
        depths=(3, 4, {50: 6, 101: 23}[depth], 3),
        stem_channels=(64, 64, 128),
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        contract_dilation=False,
    )
    assert config.head == HeadConfig(negative_slope=0.01)
    assert config.parsing == ParsingConfig(channels=256, detail_channels=48)
    assert config.align_corners
    assert config.inference == InferencePlan(mode="fit", crop=(473, 473))


def test_parsing_networks_have_the_classes_of_lip_in_its_colours():
    config = load_config("ccnet_small_ce2p")
    assert config.classes[14:] == ("Left-arm", "Right-arm", "Left-leg", "Right-leg", "Left-shoe", "Right-shoe")
    assert config.palette[:3] == ((0, 0, 0), (128, 0, 0), (255, 0, 0))
    assert config.flip_pairs == ((14, 15), (16, 17), (18, 19))


def test_published_figures_are_those_of_the_models_page():
    figures = load_config("ccnet_r50-d8_4xb2-80k_cityscapes-769x769").published
    assert (figures.miou, figures.miou_ms_flip, figures.iterations) == (79.29, 81.08, 80000)
    assert figures.checkpoint.endswith("-73eed8ca.pth")


def test_unknown_model_lists_the_nearest_names():
    with pytest.raises(ccnet.ConfigError, match=r"no model 'ccnet_r18'.*Did you mean 'ccnet_r18-d8'"):
        load_config("ccnet_r18")


def test_names_that_begin_so_come_before_close_ones():
    with pytest.raises(
        ccnet.ConfigError, match="Did you mean 'ccnet_r50-d8_4xb2-40k_cityscapes-512x1024' or 'ccnet_r50-d8_"
    ):
        load_config("ccnet_r50-d8")


def test_terms_are_known_for_the_data_of_every_published_model_and_for_no_other_name():
    for name in ccnet.list_models()[:17]:
        terms = find_terms(load_config(name).published.dataset)
        assert terms.page.startswith("http")
        assert terms.terms.endswith(".")
    assert find_terms("a dataset of mine") is None


@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k", "voc12aug", "lip", "camvid", "coco"])
def test_terms_name_where_they_were_read(dataset):
    terms = find_terms(dataset)
    assert terms.source.startswith("http")
    assert "\n" not in terms.terms
