import dataclasses
import json

import pytest

import ccnet_core as ccnet

pytest.importorskip("transformers", reason="the extra transformers is not installed")

from ccnet_core.transformers import CCNetConfig
from ccnet_core.zoo import list_models, load_config


@pytest.mark.parametrize("name", list_models())
def test_every_configuration_comes_back(name):
    config = load_config(name)
    there = CCNetConfig.from_network(config)
    assert there.network_config() == dataclasses.replace(config, published=None)
    assert there.num_labels == config.num_classes
    assert there.id2label == dict(enumerate(config.classes))


def test_file_is_the_one_that_ccnet_writes(weights, tmp_path):
    CCNetConfig.from_pretrained(weights).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads((weights / "config.json").read_text())


def test_changed_attribute_is_obeyed(weights):
    config = CCNetConfig.from_pretrained(weights)
    config.head["recurrence"] = 3
    assert config.network_config().head.recurrence == 3


def test_other_number_of_labels_has_names_and_colours(weights):
    config = CCNetConfig.from_pretrained(weights)
    config.num_labels = 7
    network = config.network_config()
    assert network.classes == tuple(f"LABEL_{index}" for index in range(7))
    assert network.palette == ccnet.config.default_palette(7)


def test_other_number_of_labels_has_no_pairs():
    config = CCNetConfig.from_network(load_config("ccnet_small_ce2p"))
    assert config.network_config().flip_pairs == ((14, 15), (16, 17), (18, 19))
    config.num_labels = 7
    assert config.network_config().flip_pairs == ()


def test_new_names_keep_their_colours(weights):
    config = CCNetConfig.from_pretrained(weights)
    colours = config.network_config().palette
    config.id2label = dict(enumerate("abcd"))
    assert (config.network_config().classes, config.network_config().palette) == (tuple("abcd"), colours)


def test_wrong_value_is_refused_when_a_network_is_built(weights):
    config = CCNetConfig.from_pretrained(weights)
    config.head["recurence"] = 3
    with pytest.raises(ccnet.WeightsError, match=r"unknown key 'recurence'\. Did you mean 'recurrence'"):
        config.network_config()
    with pytest.raises(ccnet.WeightsError, match="the key 'name' is missing"):
        CCNetConfig().network_config()
