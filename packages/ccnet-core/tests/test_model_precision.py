import copy
import dataclasses

import pytest
import torch

import ccnet_core as ccnet

DTYPES = [torch.float16, torch.bfloat16]


@pytest.fixture(params=["criss_cross", "non_local", "parsing"])
def model(request, enliven):
    if request.param == "parsing":
        return request.getfixturevalue("parsing").train()
    config = ccnet.CCNet.from_config("ccnet_small", num_classes=3).config
    head = dataclasses.replace(config.head, attention=request.param, consistency_channels=16)
    return enliven(ccnet.CCNet(dataclasses.replace(config, head=head)))


def outputs(model, image):
    return [part for part in model(image) if part is not None]


def step(model, image):
    torch.manual_seed(1)
    output = outputs(model, image)
    sum(part.float().square().mean() for part in output).backward()
    return output


def error(actual, expected):
    return ((actual.double() - expected).abs().max() / expected.abs().max()).item()


# Measured: below 3 eps, because the roundings of different layers partly cancel.
@pytest.mark.parametrize("dtype", DTYPES)
def test_half_precision_weights_answer_near_float64(model, dtype):
    image = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    exact = outputs(copy.deepcopy(model).double().eval(), image)
    output = outputs(model.to(dtype).eval(), image)
    for actual, expected in zip(output, exact, strict=True):
        assert actual.dtype == dtype
        assert error(actual, expected) < 5 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_half_precision_weights_train(model, dtype):
    step(model.to(dtype), torch.rand(2, 3, 32, 40) * 255)
    assert all(parameter.grad.dtype == dtype for parameter in model.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_autocast_answers_near_float64_and_trains_float32_weights(model):
    image = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    exact = copy.deepcopy(model).double().eval()(image)
    with torch.autocast("cpu", torch.bfloat16):
        output = model.eval()(image)
        step(model.train(), image)
    assert error(output.logits, exact.logits) < 5 * torch.finfo(torch.bfloat16).eps
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_channels_last_gives_the_same_answer_and_gradients(model):
    image = torch.rand(2, 3, 32, 40, dtype=torch.float64) * 255
    model.double()
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    layouts = []
    other.head.attention.register_forward_hook(
        lambda module, arguments, result: layouts.append(result.is_contiguous(memory_format=torch.channels_last))
    )
    expected = step(model, image)
    actual = step(other, image.contiguous(memory_format=torch.channels_last))
    assert layouts == [True]
    for part, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(part, reference)
    for (name, parameter), reference in zip(other.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_same_input_gives_the_same_bits(model):
    image = torch.rand(2, 3, 32, 40) * 255
    other = copy.deepcopy(model)
    for first, second in zip(step(model, image), step(other, image), strict=True):
        assert torch.equal(first, second)
    different = [
        name
        for (name, parameter), twin in zip(model.named_parameters(), other.parameters(), strict=True)
        if not torch.equal(parameter.grad, twin.grad)
    ]
    assert different == []
