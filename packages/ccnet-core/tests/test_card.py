import dataclasses

import yaml

from ccnet_core.card import model_card
from ccnet_core.zoo import load_config


def metadata(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_card_without_metrics_says_so_and_has_no_model_index():
    card = model_card(load_config("ccnet_tiny"), {}, [])
    assert "No metric was recorded." in card
    assert "model-index" not in metadata(card)
    assert "datasets" not in metadata(card)


def test_card_lists_metrics_and_classes():
    card = model_card(load_config("ccnet_tiny"), {"miou": 0.5, "aacc": 0.75}, ["camvid"])
    assert "| miou | 0.5000 |" in card
    assert "traffic light" in card
    types = [m["type"] for m in metadata(card)["model-index"][0]["results"][0]["metrics"]]
    assert types == ["mean_iou", "overall_accuracy"]


def test_card_says_which_attention_the_network_has():
    config = load_config("ccnet_tiny")
    non_local = dataclasses.replace(config, head=dataclasses.replace(config.head, attention="non_local"))
    assert "with criss-cross attention (2 steps)" in model_card(config, {}, [])
    assert "with non-local attention (2 steps)" in model_card(non_local, {}, [])
