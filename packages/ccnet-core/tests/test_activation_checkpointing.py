import copy

import pytest
import torch
from torch import nn

import ccnet_core as ccnet
from ccnet_core.activation_checkpointing import Checkpointed


@pytest.fixture(params=["ccnet_small", "ccnet_small_ce2p"])
def pair(request, enliven):
    """The same training network without and with activation checkpointing; dropout draws random numbers."""
    plain = enliven(ccnet.CCNet.from_config(request.param, num_classes=3)).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.checkpoint_activations()
    return plain, checkpointed


def training_step(model, image):
    torch.manual_seed(1)
    output = model(image)
    sum(part.square().mean() for part in output if part is not None).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(actual[name], expected[name])] == []


def test_gradients_are_the_same_bits(pair):
    image = torch.rand(2, 3, 32, 40) * 255
    plain, checkpointed = (training_step(model, image) for model in pair)
    assert_same_bits(checkpointed, plain)


def test_running_statistics_are_updated_once(pair):
    image = torch.rand(2, 3, 32, 40) * 255
    for model in pair:
        training_step(model, image)
    plain, checkpointed = (dict(model.named_buffers()) for model in pair)
    assert checkpointed["backbone.layer2.0.bn1.num_batches_tracked"] == 1
    assert_same_bits(checkpointed, plain)


def test_statistics_keep_being_written_to_the_same_tensors(pair):
    _, model = pair
    before = {name: buffer.data_ptr() for name, buffer in model.named_buffers()}
    training_step(model, torch.rand(2, 3, 32, 40) * 255)
    assert {name: buffer.data_ptr() for name, buffer in model.named_buffers()} == before


def test_stem_blocks_and_heads_are_computed_twice_and_not_in_evaluation(pair):
    _, model = pair
    parts = [module for module in model.modules() if isinstance(module, Checkpointed)]
    heads = {"CrissCrossHead", "AuxiliaryHead"} if model.config.parsing is None else {"ParsingHead"}
    assert {type(part).__name__ for part in parts} == {"Stem", "BasicBlock"} | heads
    calls = []
    for part in parts:
        part.register_forward_pre_hook(lambda module, arguments: calls.append(module))
    image = torch.rand(2, 3, 32, 40) * 255
    training_step(model, image)
    assert [calls.count(part) for part in parts] == [2] * len(parts)
    calls.clear()
    training_step(model.eval(), image)
    assert [calls.count(part) for part in parts] == [1] * len(parts)


def test_it_can_be_undone(pair):
    _, model = pair
    model.checkpoint_activations(enabled=False)
    assert not any(module.checkpointing for module in model.modules() if isinstance(module, Checkpointed))


def test_parameter_names_stay(pair):
    plain, checkpointed = pair
    assert list(plain.state_dict()) == list(checkpointed.state_dict())


def test_fewer_bytes_are_kept_for_the_backward_pass(pair):
    image = torch.rand(2, 3, 64, 64) * 255
    plain, checkpointed = (bytes_kept(model, image) for model in pair)
    assert checkpointed < 0.6 * plain


def bytes_kept(model, image):
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(image)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    assert output.logits.requires_grad
    return sum(size for pointer, size in storages.items() if pointer not in parameters)


def test_frozen_network_gives_the_same_bits(pair):
    image = torch.rand(2, 3, 32, 40) * 255
    for model in pair:
        model.freeze(stages=1, batch_norm=True)
    plain, checkpointed = (training_step(model, image) for model in pair)
    trained = {name: gradient for name, gradient in plain.items() if gradient is not None}
    assert_same_bits({name: gradient for name, gradient in checkpointed.items() if gradient is not None}, trained)
    assert_same_bits(dict(pair[1].named_buffers()), dict(pair[0].named_buffers()))


def test_compiled_network_updates_statistics_once_too(pair):
    image = torch.rand(2, 3, 32, 40) * 255
    for model in pair:
        for module in model.double().modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0  # a compiler draws other random numbers
    plain, checkpointed = pair
    expected = training_step(plain, image)
    compiled = torch.compile(checkpointed, fullgraph=True, backend="aot_eager")
    training_step(compiled, image)
    for name, parameter in checkpointed.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=lambda text, name=name: f"{name}: {text}")
    for name, buffer in checkpointed.named_buffers():
        torch.testing.assert_close(buffer, plain.get_buffer(name), msg=lambda text, name=name: f"{name}: {text}")
