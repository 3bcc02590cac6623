from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import rcca
from ccnet_core.testing import criss_cross_definition

MODULES = [ccnet.CrissCrossAttention, ccnet.CrissCrossAttention3d]
EXTENTS = {ccnet.CrissCrossAttention: (4, 5), ccnet.CrissCrossAttention3d: (2, 3, 4)}
both = pytest.mark.parametrize("kind", MODULES)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def by_definition(module, x):
    """The output of a criss-cross module, from the definition alone."""
    attended = criss_cross_definition(module.query_conv(x), module.key_conv(x), module.value_conv(x))
    return module.gamma * attended + x


def gradients(module, x):
    """Gradients of a scalar, by name; `x` for that of the input."""
    x = x.detach().requires_grad_()
    output = module(x)
    found = torch.autograd.grad(output.square().sum(), [x, *module.parameters()])
    names = [name.removeprefix("_orig_mod.") for name, _ in module.named_parameters()]  # torch.compile's prefix
    return dict(zip(["x", *names], found, strict=True))


def assert_same(actual, expected, **tolerance):
    """Compare dictionaries of gradients by name."""
    assert list(actual) == list(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@both
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_one_convolution_for_query_key_and_value_gives_what_three_give(kind, layout, monkeypatch):
    module = randomised(kind(16, reduction=4)).double()
    x = torch.randn(2, 16, *EXTENTS[kind], dtype=torch.float64)
    if layout == "channels last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    expected, of_three = by_definition(module, x), gradients(module, x)
    calls = []
    for conv in (module.query_conv, module.key_conv, module.value_conv):
        conv.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(rcca, "prefers_one_convolution", lambda x: True)
    torch.testing.assert_close(module(x), expected)
    assert_same(gradients(module, x), of_three)
    assert not calls


def test_convolutions_that_were_replaced_are_called_one_by_one(monkeypatch):
    module = randomised(ccnet.CrissCrossAttention(16, reduction=4))
    x = torch.randn(1, 16, 3, 4)
    expected = module(x)
    module.key_conv = torch.nn.Sequential(module.key_conv)
    monkeypatch.setattr(rcca, "prefers_one_convolution", lambda x: True)
    torch.testing.assert_close(module(x), expected)


def test_one_convolution_is_for_cuda_in_half_precision():
    def tensor(dtype, is_cuda):
        return SimpleNamespace(dtype=dtype, is_cuda=is_cuda)

    assert rcca.prefers_one_convolution(tensor(torch.bfloat16, True))
    assert not rcca.prefers_one_convolution(tensor(torch.bfloat16, False))
    assert not rcca.prefers_one_convolution(tensor(torch.float32, True))


@both
def test_state_dict_has_the_authors_keys(kind):
    state = kind(16).state_dict()
    names = [f"{part}_conv.{quantity}" for part in ("query", "key", "value") for quantity in ("weight", "bias")]
    assert sorted(state) == sorted([*names, "gamma"])
    assert state["gamma"].shape == (1,)
    assert state["query_conv.weight"].shape == (2, 16, *[1] * len(EXTENTS[kind]))


@both
def test_fresh_module_is_the_identity(kind):
    x = torch.randn(2, 16, *EXTENTS[kind])
    assert torch.equal(kind(16)(x), x)


@both
def test_gamma_may_be_a_whole_number(kind):
    assert kind(16, gamma=1).gamma.dtype == torch.float32


@both
def test_module_follows_the_definition(kind):
    module = randomised(kind(8, reduction=4).double())
    x = torch.randn(2, 8, *EXTENTS[kind], dtype=torch.float64)
    torch.testing.assert_close(module(x), by_definition(module, x))


# Of values that leave the convolutions rounded; the largest errors of 40 seeds are just below.
HALF_PRECISION = {
    torch.float16: {"output": 0.006, "gradient": 0.004},
    torch.bfloat16: {"output": 0.06, "gradient": 0.04},
}


@both
@pytest.mark.parametrize("dtype", HALF_PRECISION)
def test_module_in_half_precision_stays_near_float64(kind, dtype):
    exact, x = half_precision_case(kind, dtype)
    half = kind(8, reduction=4).to(dtype)
    half.load_state_dict(exact.state_dict())
    output = half(x.to(dtype))
    assert output.dtype == dtype
    allowed = HALF_PRECISION[dtype]
    torch.testing.assert_close(output.double(), by_definition(exact, x), rtol=allowed["output"], atol=allowed["output"])
    close_in_norm(gradients(half, x.to(dtype)), gradients(exact, x), allowed["gradient"])


@both
def test_module_under_autocast_stays_near_float64_and_keeps_float32_outside(kind):
    exact, x = half_precision_case(kind, torch.bfloat16)
    module = kind(8, reduction=4)
    module.load_state_dict(exact.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module(x.float())
        found = gradients(module, x.float())
    assert output.dtype == torch.float32
    torch.testing.assert_close(output.double(), by_definition(exact, x), rtol=0.06, atol=0.06)
    close_in_norm(found, gradients(exact, x), 0.04)


def half_precision_case(kind, dtype):
    """A module and an input in float64 whose numbers `dtype` can hold; gamma's gradient is no small difference."""
    module = randomised(kind(8, reduction=4)).to(dtype).double()
    module.gamma.data.fill_(0.75)
    return module, torch.randn(2, 8, *EXTENTS[kind]).to(dtype).double()


def close_in_norm(actual, expected, tolerance):
    """Compare per layer: the exact gradient of the key's bias is 0, since it shifts all energies of a query alike."""
    for layer in ("x", "query_conv", "key_conv", "value_conv", "gamma"):
        names = [name for name in expected if name.startswith(layer)]
        error = sum((actual[name].double() - expected[name]).square().sum() for name in names).sqrt()
        assert error < tolerance * sum(expected[name].square().sum() for name in names).sqrt(), layer


@both
def test_nan_in_one_position_reaches_only_its_cross(kind):
    module = randomised(kind(8, reduction=4))
    x = torch.randn(2, 8, *EXTENTS[kind])
    x[(0, 0, *[1] * len(EXTENTS[kind]))] = float("nan")
    output = module(x)
    assert torch.equal(output.isnan(), by_definition(module, x).isnan())
    assert output[1].isfinite().all()


@both
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_empty_batch_or_map_gives_an_empty_result(kind, axis):
    shape = [2, 8, *EXTENTS[kind]]
    shape[axis] = 0
    assert kind(8)(torch.zeros(shape)).shape == torch.Size(shape)


@both
@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_result_has_the_layout_of_the_input(kind, layout):
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    wanted = torch.contiguous_format if layout == "contiguous" else formats[len(EXTENTS[kind])]
    module = randomised(kind(8, reduction=4)).to(memory_format=wanted)
    x = torch.randn(2, 8, *EXTENTS[kind])
    output = module(x.contiguous(memory_format=wanted))
    assert output.is_contiguous(memory_format=wanted)
    torch.testing.assert_close(output, module(x.contiguous()))


@both
def test_construction_and_forward_on_the_meta_device(kind):
    with torch.device("meta"):
        module = kind(16)
        output = module(torch.empty(2, 16, *EXTENTS[kind]))
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert output.shape == (2, 16, *EXTENTS[kind])


@pytest.mark.parametrize("recurrence", [1, 2, 3])
def test_recurrence_applies_one_module_several_times(recurrence):
    module = randomised(ccnet.RecurrentCrissCrossAttention(8, recurrence=recurrence, reduction=4))
    x = torch.randn(1, 8, 4, 6)
    expected = x
    for _ in range(recurrence):
        expected = module.cca(expected)
    assert torch.equal(module(x), expected)


def test_recurrence_without_shared_weights_applies_one_module_after_another():
    module = randomised(ccnet.RecurrentCrissCrossAttention(8, recurrence=3, reduction=4, shared_weights=False))
    x = torch.randn(1, 8, 4, 6)
    assert torch.equal(module(x), module.cca[2](module.cca[1](module.cca[0](x))))
    assert not torch.equal(module(x), module.cca[0](module.cca[1](module.cca[2](x))))
    prefixes = {name.rsplit(".", 2)[0] for name in module.state_dict() if name.endswith("weight")}
    assert prefixes == {"cca.0", "cca.1", "cca.2"}


@pytest.mark.parametrize("shared_weights", [True, False])
def test_recurrence_zero_has_no_parameters(shared_weights):
    module = ccnet.RecurrentCrissCrossAttention(8, recurrence=0, shared_weights=shared_weights)
    x = torch.randn(1, 8, 4, 6)
    assert list(module.parameters()) == []
    assert torch.equal(module(x), x)
    assert module.weights(x) == []


@both
def test_weights_on_request_are_those_of_the_forward_pass(kind):
    module = randomised(kind(8, reduction=4).double())
    x = torch.randn(2, 8, *EXTENTS[kind], dtype=torch.float64)
    weights, value = module.weights(x), module.value_conv(x)
    attended = torch.zeros_like(x)
    for axis, along in enumerate(weights):
        for i in range(x.shape[2 + axis]):
            attended += along[..., i].unsqueeze(1) * value.select(2 + axis, i).unsqueeze(2 + axis)
    torch.testing.assert_close(module.gamma * attended + x, module(x))


@pytest.mark.parametrize("shared_weights", [True, False])
def test_weights_of_each_step_come_in_the_order_of_the_steps(shared_weights):
    module = randomised(ccnet.RecurrentCrissCrossAttention(8, reduction=4, shared_weights=shared_weights))
    x = torch.randn(1, 8, 4, 6)
    first, second = module.steps()
    expected = [first.weights(x), second.weights(first(x))]
    for actual, wanted in zip(module.weights(x), expected, strict=True):
        torch.testing.assert_close(actual, wanted)
    assert (expected[0][0] - expected[1][0]).abs().max() > 1e-2  # so that mixing up the steps would show


@pytest.mark.parametrize("channels", [4, 12])
def test_channels_must_be_a_multiple_of_the_reduction(channels):
    with pytest.raises(ccnet.ConfigError, match=f"channels {channels} must be a multiple of reduction 8"):
        ccnet.CrissCrossAttention(channels)


def test_unknown_backend_is_refused_at_once():
    with pytest.raises(ccnet.AttentionError, match="Did you mean 'torch'"):
        ccnet.CrissCrossAttention(8, backend="torhc")


@pytest.mark.parametrize("use", ["__call__", "weights"])
@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (ccnet.CrissCrossAttention(8), (8, 3, 3), r"8 channels takes \(B, C, H, W\); got \(8, 3, 3\)"),
        (ccnet.CrissCrossAttention(8), (1, 4, 3, 3), r"8 channels takes \(B, C, H, W\); got \(1, 4, 3, 3\)"),
        (ccnet.CrissCrossAttention(8), (1, 8, 2, 3, 3), r"got \(1, 8, 2, 3, 3\)"),
        (ccnet.CrissCrossAttention3d(8), (8, 2, 3, 3), r"takes \(B, C, T, H, W\); got \(8, 2, 3, 3\)"),
    ],
)
def test_input_of_another_shape_is_refused(module, shape, message, use):
    with pytest.raises(ccnet.AttentionError, match=message):
        getattr(module, use)(torch.zeros(shape))


def test_one_step_reaches_the_cross_and_two_steps_reach_everything():
    module = randomised(ccnet.CrissCrossAttention(8, reduction=4))
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    (once,) = torch.autograd.grad(module(x)[0, :, 1, 2].sum(), x)
    cross = torch.zeros(5, 6, dtype=torch.bool)
    cross[1], cross[:, 2] = True, True
    assert torch.equal((once[0].abs().sum(0) > 0), cross)
    (twice,) = torch.autograd.grad(module(module(x))[0, :, 1, 2].sum(), x)
    assert (twice[0].abs().sum(0) > 0).all()


def test_one_step_in_a_clip_reaches_the_three_lines_through_a_position():
    module = randomised(ccnet.CrissCrossAttention3d(8, reduction=4))
    x = torch.randn(1, 8, 3, 4, 5, requires_grad=True)
    (once,) = torch.autograd.grad(module(x)[0, :, 1, 2, 3].sum(), x)
    lines = torch.zeros(3, 4, 5, dtype=torch.bool)
    lines[:, 2, 3], lines[1, :, 3], lines[1, 2] = True, True, True
    assert torch.equal((once[0].abs().sum(0) > 0), lines)


COMPILED = {
    "two steps": (lambda: ccnet.RecurrentCrissCrossAttention(8, reduction=4), (4, 6)),
    "two steps, unshared": (lambda: ccnet.RecurrentCrissCrossAttention(8, reduction=4, shared_weights=False), (4, 6)),
    "clip": (lambda: ccnet.CrissCrossAttention3d(8, reduction=4), (2, 3, 4)),
}


@pytest.mark.parametrize("name", COMPILED)
def test_module_compiles_whole_and_gives_the_same_gradients(name):
    make, extent = COMPILED[name]
    module = randomised(make())
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 8, *extent)
    torch.testing.assert_close(compiled(x), module(x))
    assert_same(gradients(compiled, x), gradients(module, x))


@pytest.mark.parametrize("name", COMPILED)
def test_exported_module_takes_other_heights_and_widths(name):
    make, extent = COMPILED[name]
    module = randomised(make())
    dynamic = {len(extent): torch.export.Dim("height"), len(extent) + 1: torch.export.Dim("width")}
    exported = torch.export.export(module, (torch.randn(1, 8, *extent),), dynamic_shapes=(dynamic,)).module()
    other = torch.randn(1, 8, *extent[:-2], 7, 3)
    torch.testing.assert_close(exported(other), module(other))


SEEDS = {"2x64x9x13": 1, "1x32x7x7": 2, "1x64x1x11": 3, "1x64x11x1": 4, "3x16x17x5": 5}


@pytest.mark.parametrize("case", SEEDS)
@pytest.mark.parametrize("source", ["official", "mmcv"])
def test_outputs_and_gradients_are_those_of_the_published_modules(golden, fill, source, case):
    stored = np.load(golden / "modules.npz")
    shape = tuple(int(size) for size in case.split("x"))
    module = ccnet.CrissCrossAttention(shape[1])
    fill.fill_module(module)
    drawn = np.random.RandomState(SEEDS[case]).standard_normal(shape) * 0.3
    x = torch.from_numpy(drawn.astype(np.float32)).requires_grad_()
    output = module(x)
    upstream = np.random.RandomState(99).standard_normal(output.shape).astype(np.float32)
    output.backward(torch.from_numpy(upstream))
    prefix = f"{source}_cca_{case}"
    np.testing.assert_allclose(output.detach(), stored[f"{prefix}/out"], atol=2e-5)
    np.testing.assert_allclose(x.grad, stored[f"{prefix}/grad_x"], atol=2e-4)
    for name, parameter in module.named_parameters():
        theirs = "gamma.scale" if (source, name) == ("mmcv", "gamma") else name
        expected = stored[f"{prefix}/grad/{theirs}"].reshape(parameter.shape)
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-3, rtol=1e-4, err_msg=name)


def test_clip_module_gives_the_output_of_the_clean_definition(golden, fill):
    module = ccnet.CrissCrossAttention3d(16)
    fill.fill_module(module)
    drawn = np.random.RandomState(11).standard_normal((1, 16, 5, 6, 7)) * 0.3
    with torch.no_grad():
        output = module(torch.from_numpy(drawn.astype(np.float32)))
    stored = np.load(golden / "modules.npz")["naive_cca3d_self_once_1x16x5x6x7/out"]
    np.testing.assert_allclose(output, stored, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_recurrence_for_clips_applies_the_module_for_clips(shared):
    module = ccnet.RecurrentCrissCrossAttention3d(8, recurrence=3, shared_weights=shared, reduction=4)
    module = randomised(module.double())
    x = expected = torch.randn(2, 8, 2, 3, 4, dtype=torch.float64)
    for step in [module.cca] * 3 if shared else module.cca:
        expected = by_definition(step, expected)
    torch.testing.assert_close(module(x), expected)
