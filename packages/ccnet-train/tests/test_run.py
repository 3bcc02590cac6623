import pytest
import torch

import ccnet_core as ccnet
from ccnet_train.datasets import load_split
from ccnet_train.run import build_network, load_parts


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


@pytest.mark.parametrize("classes", [("a", "b"), ("ground", "red", "blue")])
def test_weights_for_other_classes_start_only_the_classifier_anew(squares, dataset, tmp_path, caplog, classes):
    trained = ccnet.CCNet.from_config("ccnet_tiny", classes=classes)
    trained.save_pretrained(tmp_path / "weights")
    network = build_network(squares(f"model.weights={tmp_path / 'weights'}"), dataset)
    assert equal(network.backbone, trained.backbone)
    assert network.config.classes == dataset.classes
    assert not torch.equal(network.head.classify.conv.weight, trained.head.classify.conv.weight[:3])
    assert "its classifiers start at random" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=missing", "there is no folder 'missing'"),
        ("data.options.lenth=3", "Unknown option 'lenth'"),
        ("data.train.length=0", "split 'train': it holds no pictures"),
        ("data.val.length=0", "split 'val': it holds no pictures"),
        ("data.val.broken=0", "split 'val': 0.png: not a readable picture"),
        ("augment={flop: 1}", "augment: unknown key"),
        ("augment={flip: 1, smallest: 64}", "the picture is too small"),
        ("loss.class_weights=[1,1]", "class_weights has 2 numbers"),
        ("train.images_per_step=3", "cannot be shared by 2 processes"),
        ("model.name=ccnet_tini", "ccnet_tiny"),
    ],
)
def test_what_would_stop_a_run_is_found_before_it(squares, override, message):
    with pytest.raises(ValueError, match=message):
        load_parts(squares(override), 2)
