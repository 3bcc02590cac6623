"""Oracles and the conformance test for attention backends, for anyone who writes one.

The definition below is slow and obvious on purpose: loops over positions, in float64.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ccnet_core.attention.interface import API_VERSION, AttentionBackend, spec_of

SHAPES = ((1, 2, 3, 4, 5), (2, 1, 4, 3, 3), (1, 3, 2, 1, 6), (2, 2, 5, 6, 1), (1, 1, 1, 1, 1), (1, 8, 16, 13, 9))
"""(B, D, C, H, W) of the conformance test: non-square, single row, single column, single position."""


def criss_cross_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Criss-cross attention by its definition, one position at a time. Differentiable.

    `query` and `key` are (B, D, H, W), `value` and the result (B, C, H, W). The position itself counts once.
    """
    height, width = query.shape[-2:]
    rows = []
    for y in range(height):
        outputs = []
        for x in range(width):
            cross = [(y, j) for j in range(width)] + [(i, x) for i in range(height) if i != y]
            energy = torch.stack([(query[:, :, y, x] * key[:, :, i, j]).sum(1) for i, j in cross], dim=-1)
            weights = energy.softmax(-1)
            outputs.append(sum(weights[:, None, n] * value[:, :, i, j] for n, (i, j) in enumerate(cross)))
        rows.append(torch.stack(outputs, dim=-1))  # type: ignore[arg-type]
    return torch.stack(rows, dim=-2)


def check_attention_backend(
    backend: AttentionBackend, *, device: str = "cpu", dtype: torch.dtype = torch.float32, tolerance: float = 1e-4
) -> None:
    """Hold `backend` to the contract: output and every gradient, by name, against the definition in float64.

    `tolerance` is the largest allowed error relative to the largest value of the reference. Raises AssertionError
    that names the shape and the tensor.
    """
    for part in ("name", "version", "api_version", "priority", "why_unsupported", "prefers"):
        assert hasattr(backend, part), f"the backend has no {part}"
    assert backend.api_version == API_VERSION, f"api_version is {backend.api_version}, core speaks {API_VERSION}"
    served = 0
    for shape in SHAPES:
        inputs = _inputs(shape, device, dtype)
        if (
            backend.why_unsupported(spec_of(*(inputs[name] for name in ("query", "value", "key", "scale", "residual"))))
            is None
        ):
            _check_call(backend, inputs, tolerance)
            served += 1
    assert served, f"the backend serves no shape on {device} in {dtype}"


def _inputs(shape: tuple[int, int, int, int, int], device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    batch, inner, channels, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    sizes = {
        "query": (batch, inner, height, width),
        "key": (batch, inner, height, width),
        "value": (batch, channels, height, width),
        "scale": (1,),
        "residual": (batch, channels, height, width),
    }
    drawn = {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}
    return {name: tensor.to(device, dtype).requires_grad_() for name, tensor in drawn.items()}


def _check_call(backend: AttentionBackend, inputs: dict[str, Tensor], tolerance: float) -> None:
    exact = {name: tensor.detach().cpu().double().requires_grad_() for name, tensor in inputs.items()}
    expected = exact["scale"] * criss_cross_definition(exact["query"], exact["key"], exact["value"]) + exact["residual"]
    upstream = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).view_as(expected)
    expected.backward(upstream)  # type: ignore[no-untyped-call]
    output = backend(
        inputs["query"], inputs["key"], inputs["value"], scale=inputs["scale"], residual=inputs["residual"]
    )
    output.backward(upstream.to(output.device, output.dtype))  # type: ignore[no-untyped-call]
    shape = tuple(inputs["value"].shape)
    _assert_close("output", output.detach(), expected.detach(), shape, tolerance)
    for name, reference in _gradients(exact):
        gradient = inputs[name].grad
        assert gradient is not None, f"{shape}: no gradient reaches {name}"
        _assert_close(f"gradient of {name}", gradient, reference, shape, tolerance)


def _gradients(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        assert tensor.grad is not None
        yield name, tensor.grad


def _assert_close(name: str, actual: Tensor, expected: Tensor, shape: tuple[int, ...], tolerance: float) -> None:
    assert actual.shape == expected.shape, f"{shape}: {name} has shape {tuple(actual.shape)}"
    # Where the reference is zero (a key that only one position sees) the scale of the inputs, 1, takes its place.
    error = (actual.detach().cpu().double() - expected).abs().max() / expected.abs().max().clamp(min=1)
    assert error <= tolerance, f"{shape}: {name} is off by {error:.1e} of its largest value, allowed {tolerance:.0e}"
