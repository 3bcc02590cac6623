"""What a call costs the host: `python packages/ccnet-kernels/benchmarks/host_cost.py [--device cpu|cuda]`.

Microseconds per call, the median of many, of criss-cross attention on a small map in the layout its kernels take,
beside two `empty_like` of its value, which any operator of this kind needs. On CUDA the device is idle before each call
and nobody waits for it. On the CPU nothing is launched: `launch.run` is replaced by a function that does nothing, so
its own cost is not in the figures, and the checks are told of a GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from ccnet_kernels import criss_cross_attention, support
from ccnet_kernels.bench.case import Case, random_arguments
from ccnet_kernels.cuda import launch

SHAPE = (1, 64, 512, 8, 8)
LAYOUTS = {"bfloat16": "channels_last", "float32": "contiguous"}
CALLS = 2000


def microseconds(call: Callable[[], object], device: str) -> float:
    """Return the median host time of a call, after as many that do not count."""
    times = []
    for turn in range(2 * CALLS):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter_ns()
        call()
        elapsed = time.perf_counter_ns() - start
        if turn >= CALLS:
            times.append(elapsed)
    return statistics.median(times) / 1e3


def costs(dtype: str, device: str) -> dict[str, float]:
    """Return microseconds of two `empty_like`, of a call that predicts, and of one that trains, there and back."""
    case = Case(level="operator", shape=SHAPE, dtype=dtype, device=device, layout=LAYOUTS[dtype])
    arguments = random_arguments(case)
    fixed = {name: tensor.detach() for name, tensor in arguments.items()}
    value = fixed["value"]
    output = criss_cross_attention(**arguments)
    inputs = list(arguments.values())
    return {
        "two empty_like": microseconds(lambda: (torch.empty_like(value), torch.empty_like(value)), device),
        "predicting": microseconds(lambda: criss_cross_attention(**fixed), device),
        "training, forward": microseconds(lambda: criss_cross_attention(**arguments), device),
        "training, backward": microseconds(
            lambda: torch.autograd.grad(output, inputs, value, retain_graph=True), device
        ),
    }


def main(command_line: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(command_line)
    if options.device == "cpu":
        launch.run = lambda *_: None
        support.why_not = lambda *_: None
    print(f"torch {torch.__version__}, {options.device}, {'x'.join(map(str, SHAPE))}")
    for dtype in LAYOUTS:
        for name, cost in costs(dtype, options.device).items():
            print(f"{dtype:10}{name:20}{cost:8.1f} us")


if __name__ == "__main__":
    main()
