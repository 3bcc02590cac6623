"""The kernels in Numba's CUDA simulator. Run by test_simulator.py, or: NUMBA_ENABLE_CUDASIM=1 pytest <this file>."""

import pytest
import torch
from kernel_oracle import errors, inputs, wrong
from kernel_variants import SMALL, Replacement, launch_of_variant
from numba import config

import ccnet_kernels.cuda
from ccnet_kernels import ops, support

assert config.ENABLE_CUDASIM

SMALL_CASES = [  # (B, D, C, H, W), magnitude of query
    ((1, 1, 1, 1, 1), 1.0),
    ((1, 3, 5, 1, 7), 1.0),
    ((1, 3, 5, 7, 1), 1.0),
    ((2, 3, 5, 3, 4), 0.01),
    ((2, 3, 5, 3, 4), 1.0),
    ((1, 5, 3, 6, 4), 10.0),
]
TRUE_CASES = [((1, 3, 5, 3, 10), 1.0), ((1, 1, 1, 1, 33), 0.01), ((1, 66, 130, 2, 2), 1.0)]

FAULTS: dict[str, tuple[Replacement, ...]] = {
    "the column meets the pixel itself": (("crisscross", "if other >= row:", "if other > row:"),),
    "the last step is lost": (("forward", "steps = height + width - 1", "steps = height + width - 2"),),
    "no column": (
        ("forward", "steps = height + width - 1", "steps = width"),
        ("backward", "steps = height + width - 1", "steps = width"),
    ),
    "a round loses its last step": (("forward", "min(STEPS, steps - first)", "min(STEPS, steps - first) - 1"),),
    "the sum is not rescaled to the new maximum": (
        ("forward", "total * math.exp(highest - higher) + math.exp(", "total + math.exp("),
    ),
    "the merge forgets a group": (("forward", "range(1, GROUPS)", "range(1, GROUPS - 1)"),),
    "the last channel is not written": (
        ("forward", "first_channel + c < channels:", "first_channel + c < channels - 1:"),
    ),
    "the value gradient takes its own log-sum-exp": (("forward", "positions[n] if transposed else pixel", "pixel"),),
    "the key gradient takes its own log-sum-exp": (("backward", "positions[n] if transposed else pixel", "pixel"),),
    "the energy gradient forgets delta": (("backward", "products[n] - delta[batch, owner]", "products[n]"),),
    "the energy gradient loses a step": (("backward", "min(STEPS, steps - first)", "min(STEPS, steps - first) - 1"),),
}


@pytest.fixture
def small_geometry(monkeypatch: pytest.MonkeyPatch, small_launch) -> None:
    monkeypatch.setattr(ccnet_kernels.cuda, "launch", small_launch, raising=False)


@pytest.fixture(scope="module")
def small_launch(tmp_path_factory: pytest.TempPathFactory):
    return launch_of_variant(tmp_path_factory.mktemp("small"), "small_kernels", SMALL)


@pytest.mark.usefixtures("small_geometry")
@pytest.mark.parametrize(("shape", "magnitude"), SMALL_CASES)
def test_output_and_every_gradient_in_a_small_geometry(shape, magnitude):
    assert not wrong(errors(ops.attend, shape, magnitude), magnitude)


@pytest.mark.parametrize(("shape", "magnitude"), TRUE_CASES)
def test_output_and_every_gradient_as_shipped(shape, magnitude):
    assert not wrong(errors(ops.attend, shape, magnitude), magnitude)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_caught(fault, tmp_path, monkeypatch):
    name = "faulty_" + fault.replace(" ", "_").replace("-", "_")
    launch = launch_of_variant(tmp_path, name, SMALL + FAULTS[fault])
    monkeypatch.setattr(ccnet_kernels.cuda, "launch", launch, raising=False)
    assert wrong(errors(ops.attend, (1, 3, 5, 2, 4), 0.5), 0.5)


@pytest.mark.usefixtures("small_geometry")
def test_another_memory_layout_gives_the_same_bits():
    arguments = [inputs((2, 3, 4, 3, 2), 1.0)[name].detach() for name in ("query", "key", "value")]
    strided = [tensor.to(memory_format=torch.channels_last) for tensor in arguments]
    assert torch.equal(ops.attend(*arguments), ops.attend(*strided))


@pytest.mark.usefixtures("small_geometry")
@pytest.mark.parametrize("given", [(), ("scale",), ("residual",)])
def test_scale_and_residual_may_be_left_out(given):
    arguments = inputs((1, 2, 3, 2, 3), 1.0)
    maps = [arguments[name] for name in ("query", "key", "value")]
    neutral = {"scale": torch.ones(()), "residual": torch.zeros_like(maps[2])}
    options = {name: arguments[name] for name in given}
    torch.testing.assert_close(ops.attend(*maps, **options), ops.attend(*maps, **{**neutral, **options}))


@pytest.mark.usefixtures("small_geometry")
def test_opcheck():
    query, key, value = (inputs((1, 1, 2, 1, 3), 1.0)[name] for name in ("query", "key", "value"))
    torch.library.opcheck(ops.attend_forward, (query, key, value))
    saved = [tensor.detach() for tensor in (query, key, value, *ops.attend_forward(query, key, value))]
    torch.library.opcheck(ops.attend_backward, (torch.randn(value.shape), *saved))


@pytest.mark.usefixtures("small_geometry")
def test_the_public_function_compiles_without_a_graph_break(monkeypatch):
    """A spec that claims a CUDA device stands in for one, so that every check is traced."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))

    def spec_as_on_cuda(query, value, *_others):
        shape = (query.shape[0], query.shape[1], value.shape[1], *query.shape[2:])
        return support.OwnSpec(
            device_type="cuda",
            capability=support.capability_of(0),
            dtype=query.dtype,
            rank=2,
            shape=shape,
            needs_gradient=True,
        )

    monkeypatch.setattr(ops, "spec_of", spec_as_on_cuda)
    compiled = torch.compile(ops.criss_cross_attention, fullgraph=True, backend="aot_eager")
    assert not wrong(errors(compiled, (1, 2, 3, 2, 3), 1.0), 1.0)
