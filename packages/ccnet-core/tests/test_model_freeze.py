import copy

import pytest
import torch
from torch import nn

import ccnet_core as ccnet


@pytest.fixture
def model(enliven):
    return enliven(ccnet.CCNet.from_config("ccnet_small", num_classes=3)).train()


def parts(model):
    """The parts of the backbone, first to last."""
    return [model.backbone.stem, *(getattr(model.backbone, name) for name in model.backbone.stages)]


def step(model):
    output = model(torch.rand(2, 3, 32, 40) * 255)
    (output.logits.square().mean() + output.auxiliary_logits.square().mean()).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1).step()


def changed(before, after, kind):
    old, new = dict(getattr(before, f"named_{kind}")()), dict(getattr(after, f"named_{kind}")())
    return {name for name in old if not torch.equal(old[name], new[name])}


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_frozen_parts_keep_weights_and_statistics_and_the_rest_trains(model, stages):
    model.freeze(stages=stages)
    before = copy.deepcopy(model)
    step(model.train())
    for index, (old, new) in enumerate(zip(parts(before), parts(model), strict=True)):
        for kind in ("parameters", "buffers"):
            expected = set() if index <= stages else {name for name, _ in getattr(old, f"named_{kind}")()}
            assert changed(old, new, kind) == expected
    assert changed(before.head, model.head, "parameters") == {name for name, _ in model.head.named_parameters()}


def test_fixed_batch_norm_keeps_its_statistics_in_the_backbone_alone_while_weights_train(model):
    model.freeze(batch_norm=True)
    before = copy.deepcopy(model)
    step(model.train())
    assert changed(before.backbone, model.backbone, "buffers") == set()
    assert changed(before.backbone, model.backbone, "parameters") == dict(model.backbone.named_parameters()).keys()
    statistics = {name for name, _ in model.head.named_buffers()}
    assert changed(before.head, model.head, "buffers") == statistics != set()


def test_every_trained_parameter_gets_a_gradient_and_no_frozen_one(model):
    model.freeze(stages=1, batch_norm=True)
    step(model)
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in parts(model)[1].parameters())


def test_both_stay_frozen_when_modes_change(model):
    model.freeze(stages=1, batch_norm=True)
    model.eval()
    model.train()
    model.backbone.train()
    assert not any(module.training for part in parts(model)[:2] for module in part.modules())
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert model.backbone.layer2.training
    assert model.head.training


def test_freezing_in_evaluation_mode_leaves_the_mode(model):
    model.eval().freeze(stages=1, batch_norm=True)
    assert not any(module.training for module in model.modules())


def test_batch_norm_put_in_later_is_fixed_too(model):
    model.freeze(batch_norm=True)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model).train()
    norms = [module for module in converted.backbone.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_a_call_says_everything(model):
    model.freeze(stages=2, batch_norm=True)
    model.freeze()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_a_copy_stays_frozen(model):
    model.freeze(stages=1)
    other = copy.deepcopy(model).train()
    assert not other.backbone.layer1.training
    assert model.backbone.layer1 is not other.backbone.layer1


@pytest.mark.parametrize("stages", [-1, 4, 1.0, True])
def test_stages_that_do_not_exist_are_refused(model, stages):
    with pytest.raises(ccnet.ConfigError, match=f"stages must be from 0 to 3, .* got {stages}"):
        model.freeze(stages=stages)
