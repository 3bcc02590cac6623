import copy
import dataclasses

import pytest
import torch

import ccnet_core as ccnet

KINDS = pytest.mark.parametrize("model", ["criss_cross", "non_local"], indirect=True)


@pytest.fixture
def model(request, enliven):
    """A network of stride 8 with every output there is."""
    config = ccnet.CCNet.from_config("ccnet_small", num_classes=3).config
    head = dataclasses.replace(config.head, attention=request.param, consistency_channels=16, dropout=0.0)
    auxiliary = dataclasses.replace(config.auxiliary, dropout=0.0)
    return enliven(ccnet.CCNet(dataclasses.replace(config, head=head, auxiliary=auxiliary)))


def step(model, image):
    output = model(image)
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
def test_network_exports_for_any_batch_and_for_sizes_that_are_multiples_of_8(model):
    height, width = torch.export.Dim("height", min=2, max=64), torch.export.Dim("width", min=2, max=64)
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=16), 2: 8 * height, 3: 8 * width}}
    image = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    exported = torch.export.export(model.eval(), (image,), dynamic_shapes=shapes).module()
    for size in ((1, 3, 24, 56), (3, 3, 64, 16)):
        image = torch.randint(0, 256, size, dtype=torch.uint8)
        assert_same(exported(image), model(image))


@KINDS
def test_network_is_built_and_called_on_the_meta_device_without_memory(model):
    with torch.device("meta"):
        twin = ccnet.CCNet(model.config)
    assert all(parameter.is_meta for parameter in twin.parameters())
    # The pixel statistics are made on the CPU, so that they hold once the rest is filled; to be called they must move.
    output = twin.to("meta")(torch.empty(2, 3, 32, 40, dtype=torch.uint8, device="meta"))
    assert [part.shape for part in output] == [(2, 3, 4, 5), (2, 3, 4, 5), (2, 16, 4, 5)]
    twin.to_empty(device="cpu").load_state_dict(model.state_dict())
    image = torch.randint(0, 256, (1, 3, 32, 40), dtype=torch.uint8)
    assert_same(twin.eval()(image), model.eval()(image))
