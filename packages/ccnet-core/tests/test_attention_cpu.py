import pytest
import torch

from ccnet_core.attention import cpu, formula
from ccnet_core.attention.reference import backend

NAMES = ("query", "key", "value", "scale", "residual")


def draw(*extent, batch=2, dtype=torch.float64, inner=3, channels=4):
    """Query, key, value, scale and residual."""
    sizes = [(batch, inner), (batch, inner), (batch, channels), None, (batch, channels)]
    tensors = [torch.randn(1 if size is None else (*size, *extent), dtype=dtype) for size in sizes]
    return [tensor.requires_grad_() for tensor in tensors]


def plain(query, key, value, scale, residual):
    return residual + scale * formula.attend(query, key, value)


@pytest.mark.parametrize("extent", [(3, 4), (1, 3), (3, 1), (1, 1), (2, 3, 2), (1, 2, 3)])
def test_gradients_agree_with_finite_differences(extent):
    assert torch.autograd.gradcheck(cpu.attend, draw(*extent))


@pytest.mark.parametrize("extent", [(2, 3), (2, 1, 2)])
@pytest.mark.parametrize("missing", [(), ("scale",), ("residual",), ("scale", "residual")])
def test_second_derivatives_agree_with_finite_differences(extent, missing):
    inputs = dict(zip(NAMES, draw(*extent, batch=1, inner=2, channels=2), strict=True))
    given = [name for name in NAMES if name not in missing]

    def attend(*tensors):
        return cpu.attend(**(dict.fromkeys(missing) | dict(zip(given, tensors, strict=True))))

    assert torch.autograd.gradgradcheck(attend, [inputs[name] for name in given], fast_mode=True)


def test_second_derivative_of_one_tensor_alone():
    inputs = [tensor.detach().requires_grad_(name == "key") for name, tensor in zip(NAMES, draw(3, 2), strict=True)]
    key = inputs[1]
    second = []
    for attend in (cpu.attend, plain):
        (first,) = torch.autograd.grad(attend(*inputs).square().sum(), key, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), key)[0])
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("extent", [(6, 9), (3, 4, 5)])
@pytest.mark.parametrize("deterministic", [False, True])
def test_same_input_gives_the_same_bits(extent, deterministic):
    inputs = draw(*extent, dtype=torch.float32, inner=8, channels=16)
    torch.use_deterministic_algorithms(deterministic)
    try:
        runs = [(out := cpu.attend(*inputs), *torch.autograd.grad(out.square().sum(), inputs)) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


@pytest.mark.parametrize("extent", [(4, 5), (3, 4, 5)])
@pytest.mark.parametrize("temporary", [1, 50])
def test_products_in_several_parts_give_the_whole(monkeypatch, extent, temporary):
    monkeypatch.setattr(cpu, "TEMPORARY", temporary)
    inputs = draw(*extent)
    actual, expected = cpu.attend(*inputs), plain(*inputs)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual.square().sum(), inputs), torch.autograd.grad(expected.square().sum(), inputs)
    )


def test_backward_pass_can_be_repeated():
    inputs = draw(4, 5)
    output = cpu.attend(*inputs)
    runs = [torch.autograd.grad(output.sum(), inputs, retain_graph=True) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*runs, strict=True))


def test_images_of_a_batch_do_not_meet():
    inputs = draw(4, 5, dtype=torch.float32)
    alone = [tensor if tensor.numel() == 1 else tensor[1:] for tensor in inputs]
    torch.testing.assert_close(cpu.attend(*inputs)[1:], cpu.attend(*alone), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), float("nan")])
def test_inf_and_nan_propagate_as_in_the_plain_formula(name, odd):
    inputs = dict(zip(NAMES, (tensor.detach() for tensor in draw(4, 5)), strict=True))
    inputs[name][1, 1, 2, 3] = odd
    actual, expected = cpu.attend(**inputs), plain(**inputs)
    assert torch.equal(actual.isfinite(), expected.isfinite())
    assert not expected.isfinite().all()
    torch.testing.assert_close(actual, expected, equal_nan=True)


def test_tensors_kept_for_the_backward_pass_are_the_maps_and_the_weights():
    inputs = draw(5, 7, dtype=torch.float32)
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        cpu.attend(*inputs)
    weights = 2 * 5 * 7 * (5 + 7)
    assert sum(kept.values()) == sum(tensor.numel() for tensor in inputs[:4]) + weights


def test_maps_in_channels_last_are_not_copied():
    *maps, scale, residual = draw(5, 7, dtype=torch.float32)
    maps = [given.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for given in maps]
    seen = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: seen.append(tensor.data_ptr()), lambda tensor: tensor):
        cpu.attend(*maps, scale, residual)
    assert {given.data_ptr() for given in maps} <= set(seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.half(),
        lambda tensor: tensor.bfloat16(),
        lambda tensor: tensor[:0],
    ],
    ids=["another device", "float16", "bfloat16", "empty"],
)
def test_other_devices_half_precision_and_nothing_are_left_to_the_formula(change):
    inputs = draw(3, 4, dtype=torch.float32)
    assert cpu.serves(*inputs)
    assert not cpu.serves(*map(change, inputs))
    assert not cpu.serves(*inputs[:4], change(inputs[4]))


def test_autocast_and_compilers_are_left_to_the_formula():
    inputs = [tensor.detach() for tensor in draw(3, 4, dtype=torch.float32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not cpu.serves(*inputs)
    compiled = torch.compile(lambda x: x + 1 if cpu.serves(x) else x - 1, backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.zeros(2)), -torch.ones(2))


@pytest.mark.parametrize("extent", [(3, 4), (2, 3, 4)])
def test_function_transforms_are_left_to_the_formula(extent):
    inputs = draw(*extent)

    def loss(*tensors):
        batch = [tensor if tensor.ndim == 1 else tensor[None] for tensor in tensors]
        return backend(*batch[:3], scale=batch[3], residual=batch[4]).square().sum()

    axes = [None if tensor.ndim == 1 else 0 for tensor in inputs]
    each = torch.func.vmap(torch.func.grad(loss, argnums=tuple(range(5))), in_dims=tuple(axes))(*inputs)
    expected = torch.autograd.grad(plain(*inputs).square().sum(), inputs)
    for name, axis, gradient, reference in zip(NAMES, axes, each, expected, strict=True):
        total = gradient if axis == 0 else gradient.sum(0)
        torch.testing.assert_close(total, reference, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
def test_tracing_is_left_to_the_formula():
    answers = []
    torch.jit.trace(lambda x: (answers.append(cpu.serves(x)), x + 1)[1], torch.zeros(2), check_trace=False)
    assert answers == [False]
