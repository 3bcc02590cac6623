"""The slow and obvious criss-cross attention in float64, and the comparison that every kernel has to pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

TOLERANCE = 2e-5  # of the largest expected number


@contextmanager
def nan_in_fresh_memory() -> Iterator[None]:
    """Fill what torch.empty returns with NaN, so that an element nobody writes is seen."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def inputs(shape: tuple[int, ...], magnitude: float, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Make the five arguments for shape (B, D, C, H, W), query with numbers of about `magnitude`."""
    batch, query_channels, value_channels, height, width = shape
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    arguments = {
        "query": magnitude * random(batch, query_channels, height, width),
        "key": random(batch, query_channels, height, width),
        "value": random(batch, value_channels, height, width),
        "scale": random(1),
        "residual": random(batch, value_channels, height, width),
    }
    return {name: tensor.to(device).requires_grad_() for name, tensor in arguments.items()}


def attend_slowly(query, key, value, *, scale, residual):
    batch, _, height, width = query.shape
    attended = torch.empty_like(value)
    for b in range(batch):
        for h in range(height):
            for w in range(width):
                seen = [(h, other) for other in range(width)] + [(other, w) for other in range(height) if other != h]
                energies = torch.stack([query[b, :, h, w] @ key[b, :, i, j] for i, j in seen])
                weights = energies.softmax(0)
                parts = [weight * value[b, :, i, j] for weight, (i, j) in zip(weights, seen, strict=True)]
                attended[b, :, h, w] = torch.stack(parts).sum(0)
    return scale * attended + residual


def results(attend: Callable[..., torch.Tensor], arguments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the output and the gradient of every argument, by name."""
    output = attend(
        *(arguments[name] for name in ("query", "key", "value")),
        scale=arguments["scale"],
        residual=arguments["residual"],
    )
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(output.shape, generator=generator).to(output)
    gradients = torch.autograd.grad(output, list(arguments.values()), gradient)
    return {"output": output.detach(), **dict(zip(arguments, gradients, strict=True))}


def errors(
    attend: Callable[..., torch.Tensor],
    shape: tuple[int, ...],
    magnitude: float,
    *,
    device: str = "cpu",
    reference: Callable[..., torch.Tensor] = attend_slowly,
) -> dict[str, float]:
    """Return for the output and each gradient the largest difference, as a share of the largest expected number."""
    arguments = inputs(shape, magnitude, device)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    expected = results(reference, exact)
    with nan_in_fresh_memory():
        actual = results(attend, arguments)
    return {
        name: float((actual[name] - expected[name]).abs().max() / expected[name].abs().max().clamp(min=0.01))
        for name in expected
    }


def wrong(found: dict[str, float], magnitude: float) -> dict[str, float]:
    """Return those errors that are too large; NaN is.

    A weight is exp(energy - log-sum-exp). float32 rounds both to a share of their size, and that difference becomes a
    relative error of the weight: hence a tolerance that grows with the magnitude of query.
    """
    return {name: error for name, error in found.items() if not error <= TOLERANCE * max(1.0, magnitude)}
