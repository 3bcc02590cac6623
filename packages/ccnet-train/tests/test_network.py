import functools
import pickle

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

import ccnet_core as ccnet
from ccnet_train import TrainError
from ccnet_train.datasets import load_split
from ccnet_train.network import build_network, train_mode, training_form
from ccnet_train.sharding import unit_classes


@pytest.fixture
def dataset(squares):
    return load_split(squares().data, "train")


@pytest.fixture
def saved(dataset, tmp_path):
    """A weights folder of another network than the recipe's, for the dataset's classes."""
    network = ccnet.CCNet.from_config("ccnet_tiny", classes=dataset.classes, recurrence=1)
    network.save_pretrained(tmp_path / "weights")
    return network, tmp_path / "weights"


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def step(model, network):
    """Return the gradients by name after one backward pass over two pictures."""
    network.zero_grad()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8, generator=generator)
    output = model(images)
    extra = () if output.consistency_features is None else (output.consistency_features,)
    sum(part.square().sum() for part in (output.logits, *extra)).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_the_network_has_the_datasets_classes_and_colours(squares, dataset):
    config = build_network(squares(), dataset).config
    assert (config.classes, config.palette) == (dataset.classes, dataset.palette)


def test_the_network_swaps_what_a_mirror_image_of_the_dataset_swaps(squares, dataset):
    assert build_network(squares(), dataset).config.flip_pairs == ()
    dataset.flip_pairs = ((1, 2),)
    assert build_network(squares(), dataset).config.flip_pairs == ((1, 2),)


def test_the_network_swaps_what_the_augmentation_swaps_in_place_of_the_dataset(squares, dataset):
    named = squares("augment.flip_pairs=[[0, 2]]")
    assert build_network(named, dataset).config.flip_pairs == ((0, 2),)
    dataset.flip_pairs = ((1, 2),)
    assert build_network(named, dataset).config.flip_pairs == ((0, 2),)
    assert build_network(squares("augment.flip_pairs=[]"), dataset).config.flip_pairs == ()
    with pytest.raises(TrainError, match=r"^augment\.flip_pairs: "):
        build_network(squares("augment.flip_pairs=[[0, 99]]"), dataset)


PARSING = "model.name=ccnet_small_ce2p"


def test_edges_are_predicted_where_their_loss_is(squares, dataset):
    network = build_network(squares(PARSING, "loss.edge_weight=1"), dataset)
    assert network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).edge_logits.shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.edge_weight=1"], r"edge_weight=1.*ccnet_tiny predicts no edges\. Leave it out"),
        ([PARSING], r"ccnet_small_ce2p predicts edges, which would not be trained\. Set loss.edge_weight=1\.0"),
    ],
)
def test_edges_and_their_loss_go_together(squares, dataset, overrides, message):
    with pytest.raises(TrainError, match=message):
        build_network(squares(*overrides), dataset)


def test_new_weights_are_drawn_from_the_seed_alone(squares, dataset):
    first = build_network(squares(), dataset)
    torch.manual_seed(99)
    assert equal(first, build_network(squares(), dataset))
    assert not equal(first, build_network(squares("seed=4"), dataset))


def test_recurrence_is_handed_on(squares, dataset):
    assert build_network(squares("model.recurrence=1"), dataset).config.head.recurrence == 1


def test_the_kind_of_attention_is_handed_on(squares, dataset):
    assert build_network(squares("model.attention=non_local"), dataset).config.head.attention == "non_local"
    assert build_network(squares("model.attention=null"), dataset).config.head.attention == "criss_cross"


def test_weights_bring_their_own_network(squares, dataset, saved):
    trained, folder = saved
    network = build_network(squares(f"model.weights={folder}"), dataset)
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


def test_backbone_weights_fill_the_backbone_alone(squares, dataset, tmp_path):
    trained = ccnet.CCNet.from_config("ccnet_tiny")
    torch.save(trained.backbone.state_dict(), tmp_path / "imagenet.pth")
    network = build_network(squares(f"model.backbone_weights={tmp_path / 'imagenet.pth'}"), dataset)
    assert equal(network.backbone, trained.backbone)
    assert equal(network.head, build_network(squares(), dataset).head)


@pytest.fixture
def convnext(tmp_path):
    """The folder of a backbone of transformers."""
    transformers = pytest.importorskip("transformers", reason="the extra transformers of ccnet-core is not installed")
    config = transformers.ConvNextV2Config(depths=[1, 1, 1, 1], hidden_sizes=[4, 4, 8, 8])
    transformers.utils.logging.disable_progress_bar()
    transformers.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "convnext")
    return tmp_path / "convnext"


def test_backbone_of_transformers_trains_whole_and_by_its_units(squares, dataset, convnext):
    network = build_network(squares(f"model.backbone.hub={convnext}", "model.backbone.out_stage=2"), dataset)
    assert network.backbone.stride == 8
    assert all(gradient is not None for gradient in step(network, network).values())
    assert unit_classes(network) == ["CrissCrossHead"]
    with pytest.raises(TrainError, match=r"model\.activation_checkpointing: transformers cannot compute"):
        build_network(squares(f"model.backbone.hub={convnext}", "model.activation_checkpointing=true"), dataset)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.backbone.hub=no/where/at/all", r"model: no/where/at/all: there is no such folder"),
        ("model.name=maskrcnn_tiny", "model.name=maskrcnn_tiny: a Mask R-CNN finds objects"),
        ("model.name=ccnet_tini", "model: There is no model 'ccnet_tini'.*'ccnet_tiny'"),
        ("model.weights=nowhere", "model: .*nowhere"),
        ("model.backbone_weights=nowhere.pth", r"model: .*nowhere\.pth"),
        ("model.freeze=[backbone.layer9]", "model.freeze: .* no module 'backbone.layer9'.*'backbone.layer1'"),
        ("model.freeze=[backbone,head]", "model.freeze=.* leaves nothing to train"),
    ],
)
def test_a_network_that_cannot_be_had_is_refused_by_key(squares, dataset, override, message):
    with pytest.raises(TrainError, match=message):
        build_network(squares(override), dataset)


def test_consistency_features_are_there_with_their_loss_only(squares, dataset, tmp_path):
    with_loss, without = squares("loss.category_consistent={channels: 5}"), squares()
    assert build_network(without, dataset).head.consistency is None
    network = build_network(with_loss, dataset)
    assert network.head.consistency.out_channels == network.config.head.consistency_channels == 5
    assert all(gradient is not None for gradient in step(network, network).values())
    network.save_pretrained(tmp_path / "consistent")
    again = build_network(squares(f"model.weights={tmp_path / 'consistent'}"), dataset)
    assert again.head.consistency is None
    assert equal(again.backbone, network.backbone)
    assert equal(again.head.fuse, network.head.fuse)


def test_weights_without_consistency_features_get_new_ones(squares, dataset, saved):
    trained, folder = saved
    network = build_network(squares(f"model.weights={folder}", "loss.category_consistent={}"), dataset)
    assert network.config.head.consistency_channels == 16
    assert equal(network.backbone, trained.backbone)
    assert equal(network.head.attention, trained.head.attention)


def test_frozen_modules_get_no_gradient_and_keep_their_statistics(squares, dataset):
    recipe = squares("model.freeze=[backbone.stem,head.reduce]")
    network = build_network(recipe, dataset)
    train_mode(network, recipe)
    frozen = (network.backbone.stem, network.head.reduce)
    before = [pickle.dumps(module.state_dict()) for module in frozen]
    gradients = step(network, network)
    unset = {name for name, gradient in gradients.items() if gradient is None}
    assert unset == {name for name in gradients if name.startswith(("backbone.stem.", "head.reduce."))}
    assert [pickle.dumps(module.state_dict()) for module in frozen] == before
    assert network.backbone.layer1.training


def test_training_mode_is_whole_without_freezing(squares, dataset):
    network = build_network(squares(), dataset).eval()
    train_mode(network, squares())
    assert all(module.training for module in network.modules())


def test_frozen_batch_norm_keeps_every_running_statistic_and_trains_every_weight(squares, dataset):
    recipe = squares("train.freeze_batch_norm=true")
    network = build_network(recipe, dataset)
    train_mode(network, recipe)
    assert all(module.training != isinstance(module, _BatchNorm) for module in network.modules())
    before = [buffer.clone() for buffer in network.buffers()]
    assert all(gradient is not None for gradient in step(network, network).values())
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))


def test_activation_checkpointing_keeps_less_and_has_the_same_gradients(squares, dataset):
    kept = {}

    def gradients(*overrides):
        network = build_network(squares(*overrides), dataset)
        train_mode(network, squares(*overrides))
        seen = kept[overrides] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: seen.append(tensor.nbytes) or tensor, lambda x: x):
            return step(network, network)

    plain, checkpointed = gradients(), gradients("model.activation_checkpointing=true")
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)
    few, many = (sum(seen) for seen in sorted(kept.values(), key=sum))
    assert few == sum(kept[("model.activation_checkpointing=true",)]) < many / 2


def test_channels_last_lays_out_the_weights_and_saves_the_same_folder(squares, dataset, tmp_path):
    network = build_network(squares("train.channels_last=true"), dataset)
    weight = network.backbone.stem[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    network.save_pretrained(tmp_path / "saved")
    model = build_network(squares(), dataset)
    assert equal(ccnet.CCNet.from_pretrained(tmp_path / "saved"), model)
    expected = step(model.double(), model)
    for name, gradient in step(network.double(), network).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-9, msg=name)


def test_the_compiled_form_trains_the_same_parameters_under_the_same_names(squares, dataset, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    recipe = squares("train.compile=true")
    network = build_network(recipe, dataset).double()
    train_mode(network, recipe)
    names = list(network.state_dict())
    expected = step(network, network)
    model = training_form(network, recipe)
    assert model is not network
    gradients = step(model, network)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-9, atol=1e-9, msg=name)
    assert list(network.state_dict()) == names
    assert not any("_orig_mod" in name for name in names)


def test_nothing_is_compiled_unless_asked_for(squares, dataset):
    network = build_network(squares(), dataset)
    assert training_form(network, squares()) is network
