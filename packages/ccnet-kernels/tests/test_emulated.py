"""The operators on the unmodified kernels, which the emulator runs: output and every gradient against float64."""

import math

import pytest
import torch
from emulator import run
from kernel_oracle import attend_slowly, errors, errors_of, inputs, results, wrong

from ccnet_kernels import ops
from ccnet_kernels.cuda import launch
from ccnet_kernels.formula import plain_attention

every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16], ids=lambda dtype: str(dtype).removeprefix("torch.")
)
# (B, D, C, H, W) or (B, D, C, T, H, W), and the magnitude of query. Tiles are 64 positions of a line, 32 or 64 of which
# are seen in a round, by 64 query channels or 128 value channels; in float32 4 x 8 pixels that see 32 in a round.
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
]

FEW_PIXELS = 50  # for more of them loops take long; test_formula holds the plain formula against them


@pytest.fixture(autouse=True)
def emulated_launches(monkeypatch):
    monkeypatch.setattr(launch, "run", run)


@every_dtype
@pytest.mark.parametrize(("shape", "magnitude"), CASES)
def test_output_and_every_gradient(shape, magnitude, dtype):
    reference = attend_slowly if math.prod(shape[3:]) <= FEW_PIXELS else plain_attention
    assert not wrong(errors(ops.attend, shape, magnitude, dtype=dtype, reference=reference), magnitude, dtype)


@every_dtype
@pytest.mark.parametrize("left_out", [("scale",), ("residual",), ("scale", "residual")], ids="-".join)
@pytest.mark.parametrize("shape", [(1, 3, 8, 5, 4), (1, 3, 5, 2, 2, 3)], ids=["picture", "clip"])
def test_scale_and_residual_may_be_left_out(left_out, shape, dtype):
    given = inputs(shape, 1.0, dtype=dtype)
    arguments = {name: given[name] for name in given if name not in left_out}
    assert not wrong(errors_of(ops.attend, arguments, dtype=dtype), 1.0, dtype)


@every_dtype
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


def wider(tensor):
    """Return a view of the same numbers, every other one of a larger tensor that begins elsewhere."""
    larger = tensor.new_full((*tensor.shape[:-1], 2 * tensor.shape[-1] + 1), 7.0)
    larger[..., 1::2] = tensor
    return larger[..., 1::2]


def shifted(tensor):
    """Return a view of the same numbers, with channels inside, that begins 2 or 4 bytes behind an aligned address."""
    larger = tensor.new_full((tensor.numel() + 1,), 7.0)
    view = larger[1:].view(*tensor.shape[:1], *tensor.shape[2:], tensor.shape[1]).movedim(-1, 1)
    return view.copy_(tensor)


LAYOUTS = {
    "channels_last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "transposed": lambda tensor: tensor.mT.contiguous().mT,
    "wider": wider,
    "shifted": shifted,
    "expanded": lambda tensor: tensor[:1].expand_as(tensor),
}


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_memory_layout_gives_the_same_bits(layout, dtype):
    given = inputs((2, 8, 16, 3, 5), 1.0, dtype=dtype)
    maps = {name: tensor.detach() for name, tensor in given.items() if name != "scale"}
    views = {name: LAYOUTS[layout](tensor) for name, tensor in maps.items()}
    contiguous = {name: view.contiguous() for name, view in views.items()}

    def found(tensors):
        return results(
            ops.attend, {name: t.requires_grad_() for name, t in {**tensors, "scale": given["scale"]}.items()}
        )

    expected, actual = found(contiguous), found(views)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


NUMBERS_THAT_SPREAD = [
    (name, number) for name in ("query", "key", "value", "residual") for number in (torch.nan, torch.inf, -torch.inf)
]


@every_dtype
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


@every_dtype
def test_energies_that_are_all_minus_infinity_give_nan_as_in_torch(dtype):
    arguments = {name: tensor.detach().abs() for name, tensor in inputs((1, 1, 8, 3, 3), 1.0, dtype=dtype).items()}
    arguments["query"][0, 0, 1, 1] = -torch.inf
    expected = plain_attention(**{name: tensor.double() for name, tensor in arguments.items()})
    assert torch.equal(ops.attend(**arguments).isnan(), expected.isnan())
