import pytest
import torch

import ccnet_core as ccnet
from ccnet_train.datasets import load_split
from ccnet_train.run import build_network


@pytest.fixture
def dataset(squares):
    return load_split(squares().data, "train")


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_network_has_the_datasets_classes_and_colours(squares, dataset):
    config = build_network(squares(), dataset).config
    assert (config.classes, config.palette) == (dataset.classes, dataset.palette)


def test_new_weights_are_drawn_from_the_seed_alone(squares, dataset):
    first = build_network(squares(), dataset)
    torch.manual_seed(99)
    assert equal(first, build_network(squares(), dataset))
    assert not equal(first, build_network(squares("seed=4"), dataset))


def test_recurrence_is_handed_on(squares, dataset):
    assert build_network(squares("model.recurrence=1"), dataset).config.head.recurrence == 1


def test_weights_bring_their_own_network(squares, dataset, tmp_path):
    trained = ccnet.CCNet.from_config("ccnet_tiny", classes=dataset.classes, recurrence=1)
    trained.save_pretrained(tmp_path / "weights")
    network = build_network(squares(f"model.weights={tmp_path / 'weights'}"), dataset)
    assert network.config.head.recurrence == 1
    assert equal(network, trained)


def test_weights_for_other_classes_start_only_the_classifier_anew(squares, dataset, tmp_path):
    trained = ccnet.CCNet.from_config("ccnet_tiny", num_classes=7)
    trained.save_pretrained(tmp_path / "weights")
    network = build_network(squares(f"model.weights={tmp_path / 'weights'}"), dataset)
    assert equal(network.backbone, trained.backbone)
    assert network.config.num_classes == 3
