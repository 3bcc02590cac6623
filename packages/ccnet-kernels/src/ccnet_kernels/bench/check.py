"""Nothing is timed that is wrong: output and every gradient against the plain formula in float64."""

import torch

from ccnet_kernels.bench.case import STEPS, Arguments, Attend, Case, forward_backward, random_arguments
from ccnet_kernels.bench.contenders import Contender

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 6e-2}
"""Allowed error of each tensor, relative to its largest number: sums of some hundred products in float32, about eight
roundings in half precision."""


def expected_of(definition: Attend, arguments: Arguments) -> dict[str, torch.Tensor]:
    """Return output and gradients by a plain formula in float64, for the very numbers in `arguments`."""
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    return forward_backward(definition, exact)


def faults(contender: Contender, case: Case, expected: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return by step, `forward` or `forward_backward`, what is wrong; nothing where all is well.

    What an implementation raises is its fault too.
    """
    arguments = random_arguments(case)
    found = {}
    for step, run in STEPS.items():
        try:
            wrong = [
                _fault(name, part, expected[name], case) for name, part in run(contender.attend, arguments).items()
            ]
        except Exception as error:  # of whatever kind: foreign code on foreign devices, and out of memory
            wrong = [_first_line(error)]
        if any(wrong):
            found[step] = next(reason for reason in wrong if reason)
    return found


def stop_if_ours_is_wrong(ours: Contender, cases: list[Case]) -> None:
    """End the program with status 1 if this distribution's backend fails a case that it serves."""
    for case in cases:
        if ours.why_not(case) is None:
            found = faults(ours, case, expected_of(ours.definition, random_arguments(case)))
            if found:
                raise SystemExit(f"{ours.name}, {case}: {next(iter(found.values()))}. No times.")


def _fault(name: str, actual: torch.Tensor, expected: torch.Tensor, case: Case) -> str | None:
    error = float((actual.double() - expected).abs().max() / expected.abs().max())
    allowed = TOLERANCES[case.dtype]
    label = name if name == "output" else f"gradient of {name}"
    return None if error <= allowed else f"{label} is off by {error:.1e} of its largest number, allowed {allowed:.0e}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
