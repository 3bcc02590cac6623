import pytest
import torch
import torch.nn.functional as F
from bench_cases import tiny

from ccnet_kernels.bench.case import compute, forward, forward_backward, random_arguments
from ccnet_kernels.formula import plain_attention


def test_energies_have_a_variance_near_one():
    arguments = random_arguments(tiny(shape=(1, 64, 8, 30, 30)))
    energies = (arguments["query"] * arguments["key"].roll(1, 2)).sum(1)
    assert 0.8 < energies.var() < 1.2


@pytest.mark.parametrize("level", ["operator", "block"])
def test_the_gradient_of_scale_fits_into_float16_on_large_maps(level):
    small = random_arguments(tiny(level=level, shape=(1, 16, 128, 24, 24)))
    gradient = forward_backward(plain_attention, small)["scale"].abs()
    numbers = 8 * 512 * 256 * 256 / (128 * 24 * 24)
    assert 1 < gradient * numbers < 65504


@pytest.mark.parametrize("extent", [(5, 7), (3, 5, 7)])
def test_channels_last_is_a_layout_and_changes_no_number(extent):
    plain, last = (
        random_arguments(tiny(shape=(2, 4, 8, *extent), layout=name)) for name in ("contiguous", "channels_last")
    )
    assert all(torch.equal(plain[name], last[name]) for name in plain)
    assert last["value"].movedim(1, -1).is_contiguous()
    assert plain["value"].is_contiguous()


def test_the_block_is_convolutions_attention_scale_and_residual_twice():
    arguments = random_arguments(tiny(level="block"))
    expected = arguments["x"]
    for _ in range(2):
        query, value = (
            F.conv2d(expected, arguments[f"{name}_weight"], arguments[f"{name}_bias"]) for name in ("query", "value")
        )
        key = F.conv2d(expected, arguments["key_weight"])
        expected = plain_attention(query, key, value, scale=arguments["scale"], residual=expected)
    torch.testing.assert_close(compute(plain_attention, arguments), expected)


@pytest.mark.parametrize("level", ["operator", "block"])
@pytest.mark.parametrize("extent", [(5, 7), (3, 4, 5)])
def test_training_gives_the_gradient_of_half_the_sum_of_squares_for_every_argument(level, extent):
    arguments = random_arguments(tiny(level=level, shape=(2, 4, 8, *extent)))
    compute(plain_attention, arguments).square().sum().div(2).backward()
    found = forward_backward(plain_attention, arguments)
    assert found.keys() == {"output", *arguments}
    for name, argument in arguments.items():
        torch.testing.assert_close(found[name], argument.grad)


def test_predicting_keeps_nothing_for_a_gradient():
    assert not forward(plain_attention, random_arguments(tiny()))["output"].requires_grad


def test_a_case_names_itself():
    assert str(tiny(dtype="bfloat16")) == "operator 2x4x8x5x7 bfloat16 contiguous"
