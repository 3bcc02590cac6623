"""Small cases for the tests of the benchmark."""

from typing import Any

import torch

from ccnet_kernels.bench.case import Case, forward_backward, random_arguments


def tiny(**changes: Any) -> Case:
    """Return a small case with some of its fields changed."""
    fields = {
        "level": "operator",
        "shape": (2, 4, 8, 5, 7),
        "dtype": "float32",
        "device": "cpu",
        "layout": "contiguous",
    }
    return Case(**fields | changes)


def worst_errors(attend: Any, definition: Any, case: Case) -> dict[str, float]:
    """Return for the output and each gradient the largest error against `definition` in float64, relative."""
    arguments = random_arguments(case)
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    expected = forward_backward(definition, exact)
    actual = forward_backward(attend, arguments)
    return {name: float((actual[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in expected}


def wrong_by(factor: float, attend: Any) -> Any:
    """Return `attend`, times a factor."""

    def wrong(*arguments: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = factor * attend(*arguments, **options)
        return result

    return wrong
