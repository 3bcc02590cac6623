"""Compare core's attention on the CPU with the einsum form: `python packages/ccnet-core/benchmarks/attention.py`.

The einsum form is the formula of mmcv.ops.CrissCrossAttention (mmcv 2.2), written anew. Both take query, key and value
from the same 1x1 convolutions, channels last, and add `scale * attended` to the convolutions' input. First the output
and every gradient are held to the einsum form in float64, then the median of interleaved rounds is taken; memory is the
peak of what torch allocates above what was there before a step. `speed-up` is einsum / core, `memory ratio` core /
einsum.
"""

import argparse
import csv
import functools
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peak_memory import peak_of_cpu
from torch import Tensor, nn

import ccnet_core
from ccnet_core.attention.reference import backend

CHANNELS, INNER = 512, 64
WIDTHS = {"query": INNER, "key": INNER, "value": CHANNELS}
EXTENTS = ((97, 97), (64, 128))
BATCHES = (1, 4, 8)
TOLERANCE = 1e-4

Attend = Callable[..., Tensor]
Step = Callable[[Attend, dict[str, Tensor]], list[Tensor]]


def einsum_attention(query: Tensor, key: Tensor, value: Tensor, *, scale: Tensor, residual: Tensor) -> Tensor:
    """Return what the torch backend does, in mmcv's order: einsum, concatenated softmax, einsum, contiguous."""
    height = query.shape[2]
    itself = torch.diag(torch.full((height,), -math.inf, dtype=query.dtype))
    column = (torch.einsum("bdyx,bdix->bxyi", query, key) + itself).transpose(1, 2)
    row = torch.einsum("bdyx,bdyi->byxi", query, key)
    weights = torch.cat([column, row], dim=-1).softmax(-1)
    attended = torch.einsum("bcix,byxi->bcyx", value, weights[..., :height])
    attended += torch.einsum("bcyi,byxi->bcyx", value, weights[..., height:])
    return (scale * attended + residual).contiguous()


def make_arguments(batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Return query, key, value, scale and residual, as leaves, out of 1x1 convolutions with energies of variance 1."""
    torch.manual_seed(0)
    x = torch.randn(batch, CHANNELS, height, width).contiguous(memory_format=torch.channels_last)
    arguments = {}
    for name, channels in WIDTHS.items():
        convolution = nn.Conv2d(CHANNELS, channels, 1)
        nn.init.normal_(convolution.weight, std=CHANNELS**-0.5 * (1 if name == "value" else INNER**-0.25))
        arguments[name] = convolution(x).detach().requires_grad_()
    arguments["scale"] = torch.full((1,), 0.7, requires_grad=True)
    arguments["residual"] = x.requires_grad_()
    return arguments


@torch.no_grad()
def forward(attend: Attend, arguments: dict[str, Tensor]) -> list[Tensor]:
    """Run a step of prediction."""
    return [attend(**arguments)]


def forward_backward(attend: Attend, arguments: dict[str, Tensor]) -> list[Tensor]:
    """Run a step of training on half the sum of squares; return output and gradients."""
    output = attend(**arguments)
    return [output, *torch.autograd.grad(output, list(arguments.values()), output.detach())]


FORMS: dict[str, Attend] = {"einsum": einsum_attention, "core": backend}
STEPS: dict[str, Step] = {"forward": forward, "forward + backward": forward_backward}


def check(arguments: dict[str, Tensor]) -> None:
    """End the program unless output and every gradient are those of the einsum form in float64."""
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in arguments.items()}
    expected = forward_backward(einsum_attention, exact)
    names = ["output", *(f"gradient of {name}" for name in arguments)]
    for name, actual, reference in zip(names, forward_backward(backend, arguments), expected, strict=True):
        error = float(((actual - reference).abs().max() / reference.abs().max()).detach())
        if not error <= TOLERANCE:
            sys.exit(f"{name} is off by {error:.1e} of its largest value, allowed {TOLERANCE:.0e}. No times.")


def median_seconds(arguments: dict[str, Tensor], step: Step, rounds: int) -> dict[str, float]:
    """Time the forms in turn, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in FORMS}
    for _ in range(rounds + 1):
        for name, attend in FORMS.items():
            start = time.perf_counter()
            step(attend, arguments)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def compare(batch: int, height: int, width: int, rounds: int) -> list[dict[str, object]]:
    """Check one size, then return a row for each step."""
    arguments = make_arguments(batch, height, width)
    check(arguments)
    rows = []
    for name, step in STEPS.items():
        seconds = median_seconds(arguments, step, rounds)
        peaks = {form: peak_of_cpu(functools.partial(step, attend, arguments)) for form, attend in FORMS.items()}
        rows.append(
            {
                "batch": batch,
                "map": f"{height}x{width}",
                "step": name,
                "einsum ms": round(1e3 * seconds["einsum"], 1),
                "core ms": round(1e3 * seconds["core"], 1),
                "speed-up": round(seconds["einsum"] / seconds["core"], 2),
                "einsum MB": round(peaks["einsum"] / 1e6, 1),
                "core MB": round(peaks["core"] / 1e6, 1),
                "memory ratio": round(peaks["core"] / peaks["einsum"], 2),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it with `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="CSV file to write")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds per size (default: 15)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="batch sizes (default: 1 4 8)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    conditions = {
        "ccnet-core": ccnet_core.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
    }
    print("; ".join(f"{name} {value}" for name, value in conditions.items()))
    print(
        f"query, key {INNER} and value {CHANNELS} channels, float32, channels last; median of {options.rounds} rounds"
    )
    rows: list[dict[str, object]] = []
    for batch in options.batches:
        for height, width in EXTENTS:
            for row in compare(batch, height, width, options.rounds):
                if not rows:
                    print(" | ".join(row))
                print(" | ".join(str(cell) for cell in row.values()), flush=True)
                rows.append(row)
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*conditions, *rows[0]])
            writer.writeheader()
            writer.writerows(conditions | row for row in rows)


if __name__ == "__main__":
    main()
