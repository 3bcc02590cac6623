"""Time every installed attention backend: `python -m ccnet_kernels.bench [--device cpu|cuda] [--out FILE.csv]`.

Backends are found through the entry-point group. Each is first held against the plain formula in float64, output and
every gradient; if one is wrong the command stops with exit status 1 and prints no time at all. Rounds are interleaved,
so that a machine that slows down slows every backend alike; the median of the rounds is printed.
"""

import argparse
import csv
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import torch

from ccnet_kernels.formula import plain_attention
from ccnet_kernels.support import spec_of

GROUP = "ccnet.attention_backends"
TOLERANCE = 1e-4  # of the largest expected number, for float32 sums of 512 products
Attend = Callable[..., torch.Tensor]
Arguments = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One backend: its medians in milliseconds, or why there are none."""

    backend: str
    version: str
    forward: float | None = None
    forward_backward: float | None = None
    note: str = ""


def random_arguments(shape: Sequence[int], device: str) -> Arguments:
    """Make the arguments for shape (B, D, C, H, W), with energies of variance 1."""
    batch, query_channels, value_channels, *extent = shape
    generator = torch.Generator().manual_seed(0)
    channels = {"query": query_channels, "key": query_channels, "value": value_channels, "residual": value_channels}
    arguments = {name: torch.randn(batch, count, *extent, generator=generator) for name, count in channels.items()}
    for name in ("query", "key"):
        arguments[name] /= query_channels**0.25
    arguments["scale"] = torch.full((1,), 0.7)
    return {name: tensor.to(device).requires_grad_() for name, tensor in arguments.items()}


@torch.no_grad()
def forward(attend: Attend, arguments: Arguments) -> torch.Tensor:
    """Run one prediction step."""
    return attend(**arguments)


def forward_backward(attend: Attend, arguments: Arguments) -> dict[str, torch.Tensor]:
    """Run one training step; return the output and, by name, the gradient of half its square."""
    output = attend(**arguments)
    gradients = torch.autograd.grad(output, list(arguments.values()), output.detach())
    return {"output": output.detach(), **dict(zip(arguments, gradients, strict=True))}


def check(name: str, attend: Attend, arguments: Arguments, expected: dict[str, torch.Tensor]) -> None:
    """Stop the program if the output or a gradient is not that of the float64 formula."""
    for part, actual in forward_backward(attend, arguments).items():
        error = float((actual - expected[part]).abs().max() / expected[part].abs().max())
        if not error <= TOLERANCE:
            sys.exit(f"{name}: {part} is off by {error:.1e} of its largest number, allowed {TOLERANCE:.0e}. No times.")


def medians(attends: dict[str, Attend], arguments: Arguments, rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds by backend and by step, `forward` or `forward_backward`."""
    steps: dict[str, Callable[[Attend, Arguments], Any]] = {"forward": forward, "forward_backward": forward_backward}
    times: dict[tuple[str, str], list[float]] = {(name, step): [] for name in attends for step in steps}
    for _ in range(rounds):
        for name, step in times:
            start = _now(arguments)
            steps[step](attends[name], arguments)
            times[name, step].append(1000 * (_now(arguments) - start))
    return {name: {step: statistics.median(times[name, step]) for step in steps} for name in attends}


def _now(arguments: Arguments) -> float:
    if arguments["query"].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def compare(shape: Sequence[int], device: str, rounds: int) -> list[Row]:
    """Check and time every backend on one shape (B, D, C, H, W)."""
    arguments = random_arguments(shape, device)
    spec = spec_of(arguments["query"], arguments["value"])
    backends = {point.name: point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}
    reasons = {name: backend.why_unsupported(spec) for name, backend in backends.items()}
    usable = {name: backend for name, backend in backends.items() if reasons[name] is None}
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    expected = forward_backward(plain_attention, exact)
    for name, backend in usable.items():
        check(name, backend, arguments, expected)
    times = medians(usable, arguments, rounds)
    return [
        Row(backend=name, version=backend.version, note=reasons[name] or "", **times.get(name, {}))
        for name, backend in backends.items()
    ]


def print_table(rows: Sequence[Row]) -> None:
    """Print one line per backend, milliseconds."""
    print(f"{'backend':12}{'version':14}{'forward':>12}{'fwd + bwd':>12}  note")
    for row in rows:
        times = ("-" if number is None else f"{number:.3f}" for number in (row.forward, row.forward_backward))
        print(f"{row.backend:12}{row.version:14}{next(times):>12}{next(times):>12}  {row.note}")


def write_csv(path: Path, rows: Sequence[Row], conditions: dict[str, str]) -> None:
    """Write one line per backend, with the conditions it was measured under."""
    lines = [{**asdict(row), **conditions} for row in rows]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def main(command_line: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m ccnet_kernels.bench", description="Time the attention backends.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", type=int, nargs=5, default=[1, 64, 512, 97, 97], metavar=tuple("BDCHW"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, metavar="FILE.csv")
    options = parser.parse_args(command_line)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here")
    if min(*options.shape, options.rounds) < 1:
        parser.error("--shape and --rounds take numbers from 1")
    rows = compare(options.shape, options.device, options.rounds)
    conditions = {"unit": "ms", "dtype": "float32", "shape_BDCHW": "x".join(map(str, options.shape))}
    conditions["device"] = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine() + " cpu"
    conditions |= {"threads": str(torch.get_num_threads()), "python": platform.python_version()}
    conditions |= {name: version(name) for name in ("torch", "numba", "numba-cuda")}
    print(", ".join(f"{name} {text}" for name, text in conditions.items()))
    print_table(rows)
    if options.out is not None:
        write_csv(options.out, rows, conditions)


if __name__ == "__main__":
    main()
