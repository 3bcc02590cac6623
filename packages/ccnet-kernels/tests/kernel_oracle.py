"""The slow and obvious criss-cross attention in float64, and the comparison that every kernel has to pass.

Shapes are (B, D, C, H, W), or (B, D, C, T, H, W) for clips.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Attend = Callable[..., torch.Tensor]

# Largest difference allowed, as a share of the largest expected number.
#
# float32: a weight is exp(energy - log-sum-exp), and float32 rounds both to a share of their size; that difference
# becomes a relative error of the weight, hence a tolerance that grows with the magnitude of query.
#
# Half precision rounds at most to a share of 2^-8 (bfloat16) or 2^-11 (float16) of a number. Energies and sums are
# float32. Rounded are the weights before they meet the values, and the sum after each of at most three axes: four times
# on the way to a result.
ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 4 * 2.0**-8, torch.float16: 4 * 2.0**-11}


@contextmanager
def nan_in_fresh_memory() -> Iterator[None]:
    """Fill what torch.empty returns with NaN, so that an element nobody writes is seen."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def inputs(
    shape: tuple[int, ...], magnitude: float, device: str = "cpu", *, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Make the five arguments, query with numbers of about `magnitude`; scale is float32, the maps are of `dtype`."""
    batch, query_channels, value_channels, *extent = shape
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    arguments = {
        "query": (magnitude * random(batch, query_channels, *extent)).to(dtype),
        "key": random(batch, query_channels, *extent).to(dtype),
        "value": random(batch, value_channels, *extent).to(dtype),
        "scale": random(1),
        "residual": random(batch, value_channels, *extent).to(dtype),
    }
    return {name: tensor.to(device).requires_grad_() for name, tensor in arguments.items()}


def attend_slowly(query, key, value, *, scale, residual):
    extent = query.shape[2:]
    query, key, maps = (tensor.flatten(2) for tensor in (query, key, value))
    numbers = torch.arange(maps.shape[2]).view(extent)
    attended = []
    for place in itertools.product(*map(range, extent)):
        seen = {place} | {(*place[:a], i, *place[a + 1 :]) for a, size in enumerate(extent) for i in range(size)}
        here, there = numbers[place], torch.stack([numbers[other] for other in sorted(seen)]).to(key.device)
        energies = torch.einsum("bd,bdn->bn", query[:, :, here], key.index_select(2, there))
        attended.append(torch.einsum("bn,bcn->bc", energies.softmax(-1), maps.index_select(2, there)))
    return scale * torch.stack(attended, -1).view_as(value) + residual


def results(
    attend: Attend, arguments: dict[str, torch.Tensor], *, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Return the output and the gradient of every argument, by name, for a gradient of the output in `dtype`."""
    maps = [arguments[name] for name in ("query", "key", "value")]
    output = attend(*maps, **{name: arguments[name] for name in ("scale", "residual") if name in arguments})
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(output.shape, generator=generator).to(dtype).to(output)
    gradients = torch.autograd.grad(output, list(arguments.values()), gradient)
    return {"output": output.detach(), **dict(zip(arguments, gradients, strict=True))}


def errors(
    attend: Attend,
    shape: tuple[int, ...],
    magnitude: float,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    reference: Attend = attend_slowly,
) -> dict[str, float]:
    """Return for the output and each gradient the largest difference, as a share of the largest expected number."""
    arguments = inputs(shape, magnitude, device, dtype=dtype)
    return errors_of(attend, arguments, dtype=dtype, reference=reference)


def errors_of(
    attend: Attend,
    arguments: dict[str, torch.Tensor],
    *,
    dtype: torch.dtype = torch.float32,
    reference: Attend = attend_slowly,
) -> dict[str, float]:
    """Do what `errors` does, for these arguments; scale and residual may be missing."""
    neutral = {"scale": torch.ones(1), "residual": torch.zeros_like(arguments["value"])}
    exact = {
        name: tensor.detach().to(arguments["value"].device, torch.float64).requires_grad_()
        for name, tensor in {**arguments, **{name: neutral[name] for name in neutral.keys() - arguments.keys()}}.items()
    }
    expected = results(reference, exact, dtype=dtype)
    with nan_in_fresh_memory():
        actual = results(attend, arguments, dtype=dtype)
    sizes = _sizes(expected, exact, reference)
    return {name: float((actual[name] - expected[name]).abs().max()) / max(sizes[name], 0.01) for name in actual}


def _sizes(expected: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], reference: Attend) -> dict[str, float]:
    """Return the largest number of each result, or of that which it is the difference of.

    With g for the gradient of the output, o for the attended map and delta = g . o, the gradient of scale is the sum of
    delta, and those of query and key are sums of weight * (g . value - delta). Where the terms of delta cancel, or
    where sharp weights leave little of the difference, the roundings of the terms are what remains. So these three
    count as large as delta would make them if it were the norm of its terms.
    """
    query, key, residual, gradient = exact["query"], exact["key"], exact["residual"], expected["residual"]
    terms = gradient * (expected["output"] - residual.detach())
    delta = terms.norm(dim=1, keepdim=True)
    seen = key.detach().requires_grad_()
    keys = reference(query, key, seen, scale=1.0, residual=0.0)
    [queries] = torch.autograd.grad(keys, seen, delta * query.detach())
    parts = {"query": delta * keys, "key": queries, "scale": terms.norm() / exact["scale"]}
    largest = {name: float(tensor.abs().max()) for name, tensor in expected.items()}
    return largest | {name: max(largest[name], float(part.detach().abs().max())) for name, part in parts.items()}


def wrong(found: dict[str, float], magnitude: float, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """Return those errors that are too large; NaN is."""
    allowed = ROUNDING[dtype] * (max(1.0, magnitude) if dtype == torch.float32 else 1.0)
    return {name: error for name, error in found.items() if not error <= allowed}
