import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.testing import criss_cross_definition


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def test_state_dict_has_the_authors_keys():
    state = ccnet.CrissCrossAttention(16).state_dict()
    names = [f"{part}_conv.{kind}" for part in ("query", "key", "value") for kind in ("weight", "bias")]
    assert sorted(state) == sorted([*names, "gamma"])
    assert state["gamma"].shape == (1,)
    assert state["query_conv.weight"].shape == (2, 16, 1, 1)


def test_fresh_module_is_the_identity():
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(ccnet.CrissCrossAttention(16)(x), x)


def test_module_follows_the_definition():
    module = randomised(ccnet.CrissCrossAttention(8, reduction=4).double())
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    attended = criss_cross_definition(module.query_conv(x), module.key_conv(x), module.value_conv(x))
    torch.testing.assert_close(module(x), module.gamma * attended + x)


@pytest.mark.parametrize("recurrence", [1, 2, 3])
def test_recurrence_applies_one_module_several_times(recurrence):
    module = randomised(ccnet.RecurrentCrissCrossAttention(8, recurrence=recurrence, reduction=4))
    x = torch.randn(1, 8, 4, 6)
    expected = x
    for _ in range(recurrence):
        expected = module.cca(expected)
    assert torch.equal(module(x), expected)


def test_recurrence_zero_has_no_parameters():
    module = ccnet.RecurrentCrissCrossAttention(8, recurrence=0)
    x = torch.randn(1, 8, 4, 6)
    assert list(module.parameters()) == []
    assert torch.equal(module(x), x)


@pytest.mark.parametrize("channels", [4, 12])
def test_channels_must_be_a_multiple_of_the_reduction(channels):
    with pytest.raises(ccnet.ConfigError, match=f"channels {channels} must be a multiple of reduction 8"):
        ccnet.CrissCrossAttention(channels)


def test_unknown_backend_is_refused_at_once():
    with pytest.raises(ccnet.AttentionError, match="Did you mean 'torch'"):
        ccnet.CrissCrossAttention(8, backend="torhc")


def test_picture_without_a_batch_axis_is_refused_with_a_reason():
    with pytest.raises(ccnet.AttentionError, match="this call has 1 axes"):
        ccnet.CrissCrossAttention(8)(torch.zeros(8, 3, 3))


def test_one_step_reaches_the_cross_and_two_steps_reach_everything():
    module = randomised(ccnet.CrissCrossAttention(8, reduction=4))
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    (once,) = torch.autograd.grad(module(x)[0, :, 1, 2].sum(), x)
    cross = torch.zeros(5, 6, dtype=torch.bool)
    cross[1], cross[:, 2] = True, True
    assert torch.equal((once[0].abs().sum(0) > 0), cross)
    (twice,) = torch.autograd.grad(module(module(x))[0, :, 1, 2].sum(), x)
    assert (twice[0].abs().sum(0) > 0).all()


def test_module_compiles_whole_and_gives_the_same_gradients():
    module = randomised(ccnet.RecurrentCrissCrossAttention(8, reduction=4))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 8, 4, 6)
    expected = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    actual = torch.autograd.grad(compiled(x).square().sum(), list(module.parameters()))
    for (name, _), a, e in zip(module.named_parameters(), actual, expected, strict=True):
        torch.testing.assert_close(a, e, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("case", ["2x64x9x13", "1x32x7x7", "1x64x1x11", "1x64x11x1", "3x16x17x5"])
def test_outputs_and_gradients_are_those_of_the_authors_module(golden, fill, case):
    seeds = {"2x64x9x13": 1, "1x32x7x7": 2, "1x64x1x11": 3, "1x64x11x1": 4, "3x16x17x5": 5}
    stored = np.load(golden / "modules.npz")
    shape = tuple(int(size) for size in case.split("x"))
    module = ccnet.CrissCrossAttention(shape[1])
    fill.fill_module(module)
    drawn = np.random.RandomState(seeds[case]).standard_normal(shape) * 0.3
    x = torch.from_numpy(drawn.astype(np.float32)).requires_grad_()
    output = module(x)
    upstream = np.random.RandomState(99).standard_normal(output.shape).astype(np.float32)
    output.backward(torch.from_numpy(upstream))
    prefix = f"official_cca_{case}"
    np.testing.assert_allclose(output.detach(), stored[f"{prefix}/out"], atol=2e-5)
    np.testing.assert_allclose(x.grad, stored[f"{prefix}/grad_x"], atol=2e-4)
    for name, parameter in module.named_parameters():
        expected = stored[f"{prefix}/grad/{name}"]
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-3, rtol=1e-4, err_msg=name)
