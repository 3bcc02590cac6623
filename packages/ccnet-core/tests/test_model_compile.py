import copy
import dataclasses

import pytest
import torch

import ccnet_core as ccnet

KINDS = pytest.mark.parametrize("model", ["criss_cross", "non_local", "parsing"], indirect=True)


@pytest.fixture
def model(request, enliven):
    """A network of stride 8, or with a head for parsing of 16, with every output there is."""
    if request.param == "parsing":
        parsing = request.getfixturevalue("parsing").train()
        parsing.head.classify.dropout.p = 0.0
        return parsing
    config = ccnet.CCNet.from_config("ccnet_small", num_classes=3).config
    head = dataclasses.replace(config.head, attention=request.param, consistency_channels=16, dropout=0.0)
    auxiliary = dataclasses.replace(config.auxiliary, dropout=0.0)
    return enliven(ccnet.CCNet(dataclasses.replace(config, head=head, auxiliary=auxiliary)))


def outputs(model, image):
    return [part for part in model(image) if part is not None]


def step(model, image):
    output = outputs(model, image)
    sum(part.square().mean() for part in output).backward()
    return output


def assert_same(actual, expected):
    for part, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(part, reference)


@KINDS
def test_forward_and_backward_compile_in_one_graph(model):
    # In float64: in float32 the two sum in another order, and how far that takes a gradient depends on the CPU.
    image = torch.rand(2, 3, 32, 40) * 255
    twin = copy.deepcopy(model.double())
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    assert_same(step(compiled, image), step(model, image))
    for (name, parameter), reference in zip(twin.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad, msg=lambda text, name=name: f"{name}: {text}")
    for (name, buffer), reference in zip(twin.named_buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(buffer, reference, msg=lambda text, name=name: f"{name}: {text}")


@KINDS
def test_network_exports_for_any_batch_and_for_sizes_that_are_multiples_of_its_stride(model):
    height, width = torch.export.Dim("height", min=2, max=64), torch.export.Dim("width", min=2, max=64)
    stride = model.backbone.stride
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=16), 2: stride * height, 3: stride * width}}
    image = torch.randint(0, 256, (2, 3, 4 * stride, 5 * stride), dtype=torch.uint8)
    exported = torch.export.export(model.double().eval(), (image,), dynamic_shapes=shapes).module()
    for size in ((1, 3, 3 * stride, 7 * stride), (3, 3, 8 * stride, 2 * stride)):
        image = torch.randint(0, 256, size, dtype=torch.uint8)
        assert_same(outputs(exported, image), outputs(model, image))


@KINDS
def test_network_is_built_and_called_on_the_meta_device_without_memory(model):
    with torch.device("meta"):
        twin = ccnet.CCNet(model.config)
    assert all(parameter.is_meta for parameter in twin.parameters())
    # The pixel statistics are made on the CPU, so that they hold once the rest is filled; to be called they must move.
    output = outputs(twin.to("meta"), torch.empty(2, 3, 32, 40, dtype=torch.uint8, device="meta"))
    assert {part.device.type for part in output} == {"meta"}
    twin.to_empty(device="cpu").load_state_dict(model.state_dict())
    image = torch.randint(0, 256, (1, 3, 32, 40), dtype=torch.uint8)
    expected = outputs(model.eval(), image)
    assert [part.shape[1:] for part in output] == [part.shape[1:] for part in expected]
    assert_same(outputs(twin.eval(), image), expected)
