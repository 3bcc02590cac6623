import dataclasses

import pytest
import torch

import ccnet_core as ccnet

OPTIONS = {
    **{f"recurrence {steps}": {"recurrence": steps} for steps in range(4)},
    "unshared": {"recurrence": 3, "shared_weights": False},
    "non-local": {"attention": "non_local", "recurrence": 1},
    "non-local twice": {"attention": "non_local", "recurrence": 2},
    "non-local unshared": {"attention": "non_local", "recurrence": 2, "shared_weights": False},
    "consistency": {"consistency_channels": 16},
}


def network(name="ccnet_small", **head):
    config = ccnet.CCNet.from_config(name, num_classes=3).config
    return ccnet.CCNet(dataclasses.replace(config, head=dataclasses.replace(config.head, **head)))


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS)
def model(request, enliven):
    return enliven(network(**request.param))


def training_loss(model, image):
    torch.manual_seed(1)  # the same dropout in every call
    return sum(part.square().mean() for part in model(image) if part is not None)


def test_every_option_trains_with_a_gradient_for_every_parameter(model):
    image = torch.rand(2, 3, 32, 40) * 255
    before = training_loss(model.train(), image)
    before.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert training_loss(model, image) < before


def test_every_option_is_saved_and_loaded(model, tmp_path):
    model.eval().save_pretrained(tmp_path / "folder")
    loaded = ccnet.CCNet.from_pretrained(tmp_path / "folder")
    assert loaded.config == model.config
    image = torch.rand(1, 3, 32, 40) * 255
    assert torch.equal(loaded(image).logits, model(image).logits)


@pytest.mark.parametrize("attention", ["criss_cross", "non_local"])
@pytest.mark.parametrize(("shared", "sets"), [(True, 1), (False, 3)])
def test_unshared_weights_are_one_set_for_each_step(attention, shared, sets):
    model = network(attention=attention, recurrence=3, shared_weights=shared)
    assert sum(name.endswith("gamma") for name in model.head.state_dict()) == sets


@pytest.mark.parametrize("shared", [True, False])
def test_non_local_head_applies_the_block_as_often_as_asked(enliven, shared):
    model = enliven(network(attention="non_local", recurrence=2, shared_weights=shared)).eval()
    features = model.backbone(model.normalise(torch.rand(1, 3, 32, 40) * 255))[-1]
    blocks = model.head.attention.blocks
    x = model.head.reduce(features)
    attended = blocks[-1](blocks[0](x))
    expected = model.head.classify(model.head.fuse(torch.cat([features, model.head.refine(attended)], 1)))
    torch.testing.assert_close(model.head(features)[0], expected)


def test_attention_backend_leaves_the_non_local_block_alone():
    model = network(attention="non_local")
    before = [dict(vars(block)) for block in model.head.attention.blocks]
    model.use_attention("torch")
    assert [dict(vars(block)) for block in model.head.attention.blocks] == before


def test_attention_map_of_a_non_local_network_is_refused():
    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ccnet.ConfigError, match="this network has a non-local block"):
        ccnet.attention_map(network(attention="non_local"), picture, point=(3, 3))


def test_consistency_features_are_a_1x1_convolution_of_the_attended_features(enliven):
    model = enliven(network(consistency_channels=16)).eval()
    image = torch.rand(1, 3, 32, 40) * 255
    attended = []
    model.head.attention.register_forward_hook(lambda module, arguments, result: attended.append(result))
    features = model(image).consistency_features
    assert features.shape == (1, 16, 4, 5)
    weight, bias = model.head.consistency.weight[..., 0, 0], model.head.consistency.bias
    expected = torch.einsum("oc,bchw->bohw", weight, attended[0]) + bias[:, None, None]
    torch.testing.assert_close(features, expected)


def test_consistency_features_come_only_with_the_training_outputs():
    model = network(consistency_channels=16)
    image = torch.rand(2, 3, 32, 40) * 255
    assert model(image, auxiliary=False).consistency_features is None
    assert network()(image).consistency_features is None


def test_consistency_convolution_does_not_change_the_logits(enliven):
    model = enliven(network(consistency_channels=16)).eval()
    image = torch.rand(1, 3, 32, 40) * 255
    before = model(image).logits
    model.head.consistency.weight.data.fill_(9.0)
    assert torch.equal(model(image).logits, before)
