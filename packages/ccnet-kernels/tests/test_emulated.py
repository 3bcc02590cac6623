"""The operators on the unmodified kernels, which the emulator runs: output and every gradient against float64."""

import math

import pytest
import torch
from emulator import run
from kernel_oracle import attend_slowly, errors, errors_of, inputs, results, wrong

from ccnet_kernels import ops
from ccnet_kernels.cuda import grids, launch, passes
from ccnet_kernels.cuda.grids import SHORT
from ccnet_kernels.formula import plain_attention

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# What a call is computed in, and the longest line that a block holds whole.
KERNELS = {
    "float32": (torch.float32, 0),
    **{f"{name}, short lines": (dtype, SHORT) for name, dtype in HALF.items()},
    **{f"{name}, long lines": (dtype, 0) for name, dtype in HALF.items()},
}
# (B, D, C, H, W) or (B, D, C, T, H, W), and the magnitude of query. Of long lines a block has 64 positions, 32 or 64 of
# which are seen in a round, by 64 query channels or 128 value channels; of short ones all, 16 for each warp, by 64
# channels or 32; in float32 it has 4 x 8 pixels that see 32 in a round.
CASES = [
    ((1, 1, 1, 1, 1), 1.0),
    ((1, 3, 5, 1, 7), 1.0),
    ((1, 3, 5, 7, 1), 10.0),
    ((2, 3, 5, 2, 9), 0.01),
    ((1, 16, 24, 9, 13), 0.01),
    ((1, 16, 24, 9, 13), 1.0),
    ((1, 16, 24, 9, 13), 10.0),
    ((2, 70, 136, 2, 7), 1.0),
    ((1, 70, 136, 7, 2), 10.0),  # energies of several hundred
    ((1, 130, 260, 1, 3), 1.0),
    ((1, 8, 8, 1, 97), 1.0),
    ((1, 8, 16, 97, 2), 0.01),
    ((1, 3, 8, 2, 65), 1.0),
    ((1, 16, 5, 33, 2), 0.01),
    ((1, 3, 5, 2, 3, 4), 1.0),
    ((2, 8, 24, 3, 1, 9), 0.01),
    ((1, 16, 8, 9, 2, 1), 10.0),
    ((1, 3, 5, 1, 2, 2), 1.0),
    ((1, 8, 16, 2, 130), 1.0),  # a short line and a long one
    ((1, 8, 8, 113, 1), 1.0),
    ((1, 8, 330, 4, 5), 1.0),  # six slices of value in a block
]

FEW_PIXELS = 50  # for more of them loops take long; test_formula holds the plain formula against them


@pytest.fixture(autouse=True)
def emulated_launches(monkeypatch):
    monkeypatch.setattr(launch, "run", run)


@pytest.fixture(params=KERNELS.values(), ids=KERNELS.keys())
def dtype(request, monkeypatch):
    dtype, longest = request.param
    monkeypatch.setattr(passes, "SHORT", longest)
    monkeypatch.setattr(grids, "ENOUGH_BLOCKS", 4)  # so that blocks take several slices of the channels of few lines
    return dtype


@pytest.mark.parametrize(("shape", "magnitude"), CASES)
def test_output_and_every_gradient(shape, magnitude, dtype):
    reference = attend_slowly if math.prod(shape[3:]) <= FEW_PIXELS else plain_attention
    assert not wrong(errors(ops.attend, shape, magnitude, dtype=dtype, reference=reference), magnitude, dtype)


@pytest.mark.parametrize("left_out", [("scale",), ("residual",), ("scale", "residual")], ids="-".join)
@pytest.mark.parametrize("shape", [(1, 3, 8, 5, 4), (1, 3, 5, 2, 2, 3)], ids=["picture", "clip"])
def test_scale_and_residual_may_be_left_out(left_out, shape, dtype):
    given = inputs(shape, 1.0, dtype=dtype)
    arguments = {name: given[name] for name in given if name not in left_out}
    assert not wrong(errors_of(ops.attend, arguments, dtype=dtype), 1.0, dtype)


@pytest.mark.parametrize("shape", [(2, 16, 24, 5, 7), (1, 8, 72, 3, 1), (1, 8, 16, 2, 3, 4)])
def test_query_key_and_value_may_be_channels_of_one_map(shape, dtype):
    def attend(query, key, value, **options):
        joint = torch.cat([query, key, value], 1).movedim(1, -1).contiguous().movedim(-1, 1)
        return ops.attend(*joint.split([maps.shape[1] for maps in (query, key, value)], 1), **options)

    assert not wrong(errors(attend, shape, 1.0, dtype=dtype), 1.0, dtype)


def test_without_gradients_the_output_has_the_same_bits(dtype):
    """Then the attended map is not kept beside it."""
    arguments = inputs((1, 3, 8, 5, 4), 1.0, dtype=dtype)
    with torch.no_grad():
        output = ops.attend(**arguments)
    assert torch.equal(output, ops.attend(**arguments))


def test_a_float32_residual_beside_half_precision_is_added_in_float32():
    arguments = inputs((1, 8, 8, 5, 4), 1.0, dtype=torch.bfloat16)
    arguments["residual"] = inputs((1, 8, 8, 5, 4), 1.0)["residual"]
    assert ops.attend(**arguments).dtype == torch.float32
    assert not wrong(errors_of(ops.attend, arguments), 1.0, torch.bfloat16)


def test_energies_far_below_zero_leave_the_padding_of_lines_unseen(dtype):
    """Beyond a line, where energies are 0, a weight would be exp(160)."""
    arguments = {name: tensor.detach() for name, tensor in inputs((1, 8, 8, 3, 5), 1.0, dtype=dtype).items()}
    arguments |= {"query": torch.full_like(arguments["query"], -20), "key": torch.ones_like(arguments["key"])}
    found = errors_of(ops.attend, {name: tensor.requires_grad_() for name, tensor in arguments.items()}, dtype=dtype)
    assert not wrong(found, 20.0, dtype)


NUMBERS_THAT_SPREAD = [
    (name, number) for name in ("query", "key", "value", "residual") for number in (torch.nan, torch.inf, -torch.inf)
]


@pytest.mark.parametrize(("name", "number"), NUMBERS_THAT_SPREAD)
def test_nan_and_infinity_reach_the_numbers_that_they_reach_in_torch(name, number, dtype):
    arguments = inputs((1, 2, 8, 5, 4), 0.1, dtype=dtype)
    with torch.no_grad():
        arguments[name][0, 1, 2, 3] = number
    exact = {key: tensor.detach().double().requires_grad_() for key, tensor in arguments.items()}
    expected, actual = results(plain_attention, exact), results(ops.attend, arguments)
    for result in expected:
        assert torch.equal(actual[result].isfinite(), expected[result].isfinite()), result
    if number is torch.nan:
        assert torch.equal(actual["output"].isnan(), expected["output"].isnan())


def test_energies_that_are_all_minus_infinity_give_nan_as_in_torch(dtype):
    arguments = {name: tensor.detach().abs() for name, tensor in inputs((1, 1, 8, 3, 3), 1.0, dtype=dtype).items()}
    arguments["query"][0, 0, 1, 1] = -torch.inf
    expected = plain_attention(**{name: tensor.double() for name, tensor in arguments.items()})
    assert torch.equal(ops.attend(**arguments).isnan(), expected.isnan())
