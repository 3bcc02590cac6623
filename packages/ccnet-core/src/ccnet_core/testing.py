"""The definition of criss-cross attention and the conformance test for attention backends, for anyone who writes one.

The definition is slow and obvious on purpose: one position at a time. A backend is held to it in float64.

Shape letters: B batch, D query and key channels, C value channels, S the axes of position, (H, W) or (T, H, W).
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ccnet_core.attention.interface import API_VERSION, AttentionBackend, spec_of

Inputs = dict[str, Tensor]

MAPS = ((1, 2, 3, 4, 5), (2, 1, 4, 3, 3), (1, 3, 2, 1, 6), (2, 2, 5, 6, 1), (1, 1, 1, 1, 1), (1, 8, 16, 13, 9))
"""(B, D, C, H, W) of the conformance test: non-square, a batch, single row, column and position, several tiles."""

CLIPS = ((2, 3, 4, 3, 4, 2), (1, 2, 3, 1, 3, 4), (2, 1, 2, 3, 1, 2), (1, 2, 2, 4, 3, 1), (1, 1, 1, 1, 1, 1))
"""(B, D, C, T, H, W), for the backends that serve clips."""

TYPICAL = ((2, 3, 4, 4, 3), (2, 3, 4, 2, 3, 2))
"""The map and the clip that every variation is tried on."""

TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
"""Allowed error relative to the largest value of the reference; about 8 roundings in half precision."""


def criss_cross_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Criss-cross attention by its definition, one position at a time. Differentiable.

    `query` and `key` are `(B, D, *S)`, `value` and the result `(B, C, *S)`. A position attends to all positions that
    differ from it in at most one coordinate, so to itself once: H + W - 1 in a map, T + H + W - 2 in a clip.
    """
    positions = list(itertools.product(*map(range, query.shape[2:])))
    queries, keys, values = (tensor.flatten(2).unbind(2) for tensor in (query, key, value))
    outputs = []
    for here, asking in zip(positions, queries, strict=True):
        cross = [n for n, there in enumerate(positions) if _differences(here, there) <= 1]
        energy = torch.stack([(asking * keys[n]).sum(1) for n in cross], dim=1)
        weights = energy.softmax(1)
        outputs.append(torch.stack([weights[:, i, None] * values[n] for i, n in enumerate(cross)]).sum(0))
    return torch.stack(outputs, dim=2).view(value.shape)


def check_attention_backend(
    backend: AttentionBackend,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    tolerance: float | None = None,
) -> None:
    """Hold `backend` to the contract: output and every gradient, by name, against the definition in float64.

    Covers maps, and clips if served; small and large energies; calls without scale or residual; layouts in memory;
    a gradient for one tensor alone; NaN; and that inputs stay as they are. `tolerance` is the largest allowed error
    relative to the largest value of the reference, or 1 if that is larger; None takes it from `TOLERANCES`. Raises
    AssertionError that names the shape, the variation and the tensor.
    """
    for part in ("name", "version", "api_version", "priority", "why_unsupported", "prefers"):
        assert hasattr(backend, part), f"the backend has no {part}"
    assert backend.api_version == API_VERSION, f"api_version is {backend.api_version}, core speaks {API_VERSION}"
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    served = [shape for shape in (*MAPS, *CLIPS) if _serves(backend, _draw(shape, device, dtype))]
    assert served, f"the backend serves no shape on {device} in {dtype}"
    for shape in served:
        _check_call(backend, _draw(shape, device, dtype), f"{shape}", tolerance)
    for shape in TYPICAL:
        if _serves(backend, _draw(shape, device, dtype)):
            for name, variation in VARIATIONS.items():
                inputs = variation(_draw(shape, device, dtype))
                _check_call(backend, inputs, f"{shape} {name}", tolerance)
            _check_single_gradients(backend, _draw(shape, device, dtype), f"{shape}", tolerance)
            _check_nan(backend, _draw(shape, device, dtype), f"{shape}")


def _serves(backend: AttentionBackend, inputs: Inputs) -> bool:
    spec = spec_of(*(inputs[name].requires_grad_() for name in ("query", "value", "key", "scale", "residual")))
    return backend.why_unsupported(spec) is None


def _draw(shape: tuple[int, ...], device: str, dtype: torch.dtype) -> Inputs:
    batch, inner, channels, *extent = shape
    generator = torch.Generator().manual_seed(sum(shape))
    sizes = {
        "query": (batch, inner, *extent),
        "key": (batch, inner, *extent),
        "value": (batch, channels, *extent),
        "scale": (1,),
        "residual": (batch, channels, *extent),
    }
    drawn = {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}
    return {name: tensor.to(device, dtype) for name, tensor in drawn.items()}


def _without(*names: str) -> Callable[[Inputs], Inputs]:
    return lambda inputs: {name: tensor for name, tensor in inputs.items() if name not in names}


def _energies(change: Callable[[Tensor], Tensor]) -> Callable[[Inputs], Inputs]:
    return lambda inputs: inputs | {name: change(inputs[name]) for name in ("query", "key")}


def _laid_out(change: Callable[[Tensor], Tensor]) -> Callable[[Inputs], Inputs]:
    return lambda inputs: {name: change(tensor) if name != "scale" else tensor for name, tensor in inputs.items()}


VARIATIONS: dict[str, Callable[[Inputs], Inputs]] = {
    # A position too many or too few shows most where all weights are alike.
    "small energies": _energies(lambda tensor: tensor / 10),
    # Energies of hundreds, exact in half precision: exp overflows unless the largest is subtracted.
    "large energies": _energies(lambda tensor: 16 * tensor.sign()),
    "without scale": _without("scale"),
    "without residual": _without("residual"),
    "without scale and residual": _without("scale", "residual"),
    "scale of no axes": lambda inputs: inputs | {"scale": inputs["scale"].squeeze()},
    "scale of zero": lambda inputs: inputs | {"scale": torch.zeros_like(inputs["scale"])},
    "channels last": _laid_out(lambda tensor: tensor.movedim(1, -1).contiguous().movedim(-1, 1)),
    "transposed": _laid_out(lambda tensor: tensor.mT.contiguous().mT),
    "sliced": _laid_out(lambda tensor: tensor.repeat_interleave(2, -1)[..., ::2]),
}


def _call(backend: AttentionBackend, inputs: Inputs) -> Tensor:
    options = {name: inputs[name] for name in ("scale", "residual") if name in inputs}
    return backend(inputs["query"], inputs["key"], inputs["value"], **options)


def _expected(inputs: Inputs) -> tuple[Inputs, Tensor]:
    """Return `inputs` in float64 on the CPU, as leaves, and the result by the definition."""
    exact = {name: tensor.detach().cpu().double().requires_grad_() for name, tensor in inputs.items()}
    attended = criss_cross_definition(exact["query"], exact["key"], exact["value"])
    return exact, exact.get("scale", 1) * attended + exact.get("residual", 0)


def _check_call(backend: AttentionBackend, inputs: Inputs, label: str, tolerance: float) -> None:
    exact, expected = _expected(inputs)
    upstream = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
    references = torch.autograd.grad(expected, list(exact.values()), upstream)
    with torch.no_grad():
        forward_only = _call(backend, inputs)
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in inputs.items()}
    output = _call(backend, leaves)
    given = upstream.to(output.device, output.dtype)
    gradients = torch.autograd.grad(output, list(leaves.values()), given, allow_unused=True)
    for name, tensor in inputs.items():
        assert torch.equal(tensor.detach().cpu().double(), exact[name]), f"{label}: {name} was changed in place"
    _assert_close(f"{label}: output without gradients", forward_only, expected, tolerance)
    _assert_close(f"{label}: output", output, expected, tolerance)
    for name, gradient, reference in zip(inputs, gradients, references, strict=True):
        assert gradient is not None, f"{label}: no gradient reaches {name}"
        _assert_close(f"{label}: gradient of {name}", gradient, reference, tolerance)


def _check_single_gradients(backend: AttentionBackend, inputs: Inputs, label: str, tolerance: float) -> None:
    """Ask for the gradient of one tensor at a time, of a sum: the upstream gradient is one number in memory."""
    exact, expected = _expected(inputs)
    for name in inputs:
        leaves = {other: tensor.detach().requires_grad_(other == name) for other, tensor in inputs.items()}
        (reference,) = torch.autograd.grad(expected.sum(), exact[name], retain_graph=True)
        (gradient,) = torch.autograd.grad(_call(backend, leaves).sum(), leaves[name])
        _assert_close(f"{label}: gradient of {name} alone", gradient, reference, tolerance)


def _check_nan(backend: AttentionBackend, inputs: Inputs, label: str) -> None:
    for name in ("query", "key", "value"):
        spoiled = inputs | {name: inputs[name].detach().clone()}
        spoiled[name][(0, 0, *[1] * (inputs[name].ndim - 2))] = float("nan")
        _, expected = _expected(spoiled)
        with torch.no_grad():
            output = _call(backend, spoiled).cpu()
        assert torch.equal(output.isnan(), expected.isnan()), f"{label}: NaN in {name} does not propagate as in torch"


def _differences(here: tuple[int, ...], there: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(here, there, strict=True))


def _assert_close(label: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape, f"{label} has shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    # Where the reference is zero (a key that only one position sees) the scale of the inputs, 1, takes its place.
    error = (actual.detach().cpu().double() - expected).abs().max() / expected.detach().abs().max().clamp(min=1)
    assert error <= tolerance, f"{label} is off by {error:.1e} of its largest value, allowed {tolerance:.0e}"
