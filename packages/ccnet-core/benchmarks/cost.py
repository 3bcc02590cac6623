"""The paper's cost table: `cost.py [--device cpu|cuda] [--sizes 97 ...] [--clips 49 ...] [--out FILE] [--plot FILE]`.

Operations are counted, not timed: two for each multiply-add of convolutions and matrix products. Biases, softmax,
`gamma` and the residual are left out; they are below 1 %. The count is that of the formula in torch on the meta device,
so it is the same on every machine. The fused non-local block computes energies once for each of its 8 heads. What a
kernel computes again in its own backward pass is not counted; what activation checkpointing computes again is.

Memory is measured: the most bytes that torch's allocator held at one time during the call, beyond what it held before
(weights and input). "forward" is without gradients, "both" is forward and backward to the input and every weight, with
the gradients of output, input and weights. Everything is float32 and channels last. On the CPU the figures come from
torch.profiler, on CUDA from torch.cuda.max_memory_allocated. Workspace that oneDNN or MKL allocate by themselves is not
in them. MB are 10^6 bytes.

Clips are five maps of 512 channels. Their time is measured too, where a call has at most 1000 GFLOPs: the less of two
calls, on the CPU as processor time of all threads, which other programs on the machine hardly change, on CUDA as time.
"""

import argparse
import csv
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path

import torch
from peak_memory import peak_of_cpu
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ccnet_core as ccnet
from ccnet_core.non_local import RecurrentNonLocalBlock3d

CHANNELS = 512
FRAMES = 5
PAPER_SIZE = 97
NETWORK, PICTURES = "ccnet_small", (2, 3, 512, 512)
MAPS_OF_A_STEP = 5
"""The most (N, N) maps that an explicit non-local block is expected to hold at one time in forward and backward."""
MAPS_HELD = {"forward": 2, "both": 4}
"""Those that it was measured to hold at the sizes that fit, energies and weights, and the gradients of both."""
MOST_TIMED = 1000
"""GFLOPs of the longest call that is timed."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured, with the paper's figures at 1x512x97x97."""

    name: str
    build: Callable[[], nn.Module]
    paper_gflops: float | None = None
    paper_mb: float | None = None
    stores_map: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `mb` are None where the call would not fit into memory, `s` where it was not timed."""

    name: str
    input: str
    forward_gflops: float
    both_gflops: float
    forward_mb: float | None = None
    both_mb: float | None = None
    forward_s: float | None = None
    both_s: float | None = None
    paper_gflops: float | None = None
    paper_mb: float | None = None


def criss_cross(recurrence: int) -> Callable[[], nn.Module]:
    """Return how to build the recurrent module."""
    return lambda: ccnet.RecurrentCrissCrossAttention(CHANNELS, recurrence=recurrence)


def criss_cross_of_clips(recurrence: int) -> Callable[[], nn.Module]:
    """Return how to build the recurrent module for clips."""
    return lambda: ccnet.RecurrentCrissCrossAttention3d(CHANNELS, recurrence=recurrence)


def non_local_of_clips(fused: bool) -> Callable[[], nn.Module]:
    """Return how to build the non-local block for clips."""
    return lambda: RecurrentNonLocalBlock3d(CHANNELS, fused=fused)


def network(checkpointing: bool) -> nn.Module:
    """Return a small network in training mode."""
    model = ccnet.CCNet.from_config(NETWORK).train()
    model.checkpoint_activations(checkpointing)
    return model


BLOCKS = (
    Subject(name="criss-cross, R = 1", build=criss_cross(1), paper_gflops=8.3, paper_mb=53),
    Subject(name="criss-cross, R = 2", build=criss_cross(2), paper_gflops=16.5, paper_mb=127),
    Subject(name="criss-cross, R = 3", build=criss_cross(3), paper_gflops=24.7, paper_mb=208),
    Subject(
        name="non-local, explicit",
        build=lambda: ccnet.NonLocalBlock(CHANNELS, fused=False),
        paper_gflops=108,
        paper_mb=1411,
        stores_map=True,
    ),
    Subject(name="non-local, fused", build=lambda: ccnet.NonLocalBlock(CHANNELS)),
)
CLIP_BLOCKS = (
    Subject(name="3-D criss-cross, R = 2", build=criss_cross_of_clips(2)),
    Subject(name="3-D criss-cross, R = 3", build=criss_cross_of_clips(3)),
    Subject(name="3-D non-local, explicit", build=non_local_of_clips(fused=False), stores_map=True),
    Subject(name="3-D non-local, fused", build=non_local_of_clips(fused=True)),
)
NETWORKS = (
    Subject(name=NETWORK, build=lambda: network(False)),
    Subject(name=f"{NETWORK}, activations checkpointed", build=lambda: network(True)),
)


def forward(module: nn.Module, x: Tensor) -> None:
    """Predict."""
    with torch.no_grad():
        module(x.detach())  # a view of what wants a gradient confuses torch's counter


def forward_and_backward(module: nn.Module, x: Tensor) -> None:
    """Compute the gradients of the input, where it is a feature map, and of every weight."""
    output = module(x)
    outputs = [output] if isinstance(output, Tensor) else [part for part in output if part is not None]
    torch.autograd.backward(outputs, [torch.ones_like(part) for part in outputs])


def gigaflops(call: Callable[[nn.Module, Tensor], None], subject: Subject, shape: Sequence[int]) -> float:
    """Count what `call` computes, in 10^9 operations."""
    module, x = prepare(subject, shape, "meta")
    with FlopCounterMode(display=False) as counter:
        call(module, x)
    return counter.get_total_flops() / 1e9


def prepare(subject: Subject, shape: Sequence[int], device: str) -> tuple[nn.Module, Tensor]:
    """Return the module and its input; a feature map wants a gradient, pictures do not."""
    torch.manual_seed(0)
    form = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    x = torch.randn(tuple(shape), device=device).contiguous(memory_format=form)
    module = subject.build().to(device)
    if len(shape) == 4:
        module.to(memory_format=torch.channels_last)
    return module, x.requires_grad_(shape[1] == CHANNELS)


def megabytes(call: Callable[[nn.Module, Tensor], None], subject: Subject, shape: Sequence[int], device: str) -> float:
    """Measure the peak memory of `call` beyond what was allocated before, in 10^6 bytes."""
    module, x = prepare(subject, shape, device)
    measure = peak_of_cuda if torch.device(device).type == "cuda" else peak_of_cpu
    return measure(lambda: call(module, x)) / 1e6


def peak_of_cuda(call: Callable[[], None]) -> int:
    """Return the peak of the CUDA allocator in bytes, after a first call that lets the libraries set themselves up."""
    call()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def seconds(call: Callable[[nn.Module, Tensor], None], subject: Subject, shape: Sequence[int], device: str) -> float:
    """Measure the time of `call`: the less of two, in processor time on the CPU, passed on CUDA."""
    module, x = prepare(subject, shape, device)
    on_gpu = torch.device(device).type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    taken = []
    for _ in range(2):
        start = clock()
        call(module, x)
        if on_gpu:
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return min(taken)


def free_bytes(device: str) -> int:
    """Return the memory that nobody uses."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fits(subject: Subject, shape: Sequence[int], device: str) -> bool:
    """Return whether the maps of `subject` leave a quarter of the free memory."""
    positions = math.prod(shape[2:])
    return not subject.stores_map or MAPS_OF_A_STEP * 4 * positions**2 < 0.75 * free_bytes(device)


def measure(subject: Subject, shape: Sequence[int], device: str) -> Row:
    """Count and measure one subject."""
    measured = fits(subject, shape, device)
    in_paper = shape[2] == PAPER_SIZE
    calls = {"forward": forward, "both": forward_and_backward}
    gflops = {name: gigaflops(call, subject, shape) for name, call in calls.items()}
    mb = {name: megabytes(call, subject, shape, device) for name, call in calls.items() if measured}
    timed = [name for name in mb if len(shape) == 5 and gflops[name] <= MOST_TIMED]
    taken = {name: seconds(calls[name], subject, shape, device) for name in timed}
    return Row(
        name=subject.name,
        input="x".join(map(str, shape)),
        forward_gflops=gflops["forward"],
        both_gflops=gflops["both"],
        forward_mb=mb.get("forward"),
        both_mb=mb.get("both"),
        forward_s=taken.get("forward"),
        both_s=taken.get("both"),
        paper_gflops=subject.paper_gflops if in_paper else None,
        paper_mb=subject.paper_mb if in_paper else None,
    )


def rows(sizes: Iterable[int], clips: Iterable[int], device: str) -> Iterator[Row]:
    """Measure every block at every size, a training step without and with activation checkpointing, then clips."""
    for size in sizes:
        for subject in BLOCKS:
            yield measure(subject, (1, CHANNELS, size, size), device)
    for subject in NETWORKS:
        yield measure(subject, PICTURES, device)
    for size in clips:
        for subject in CLIP_BLOCKS:
            yield measure(subject, (1, CHANNELS, FRAMES, size, size), device)


def line(row: Row) -> str:
    """Return one line of the printed table."""
    numbers = (row.forward_gflops, row.both_gflops, row.paper_gflops, row.forward_mb, row.both_mb, row.paper_mb)
    shown = ("" if number is None else f"{number:.1f}" for number in (*numbers, row.forward_s, row.both_s))
    return f"{row.name:40}{row.input:>15}" + "".join(f"{number:>10}" for number in shown)


def too_large(row: Row) -> str:
    """Return what the maps of a call that was not made would take."""
    positions = math.prod(map(int, row.input.split("x")[2:]))
    sizes = (f"{name} {count * 4 * positions**2 / 1e6:.0f}" for name, count in MAPS_HELD.items())
    return (
        f"{row.name}, {row.input}: not run, as its maps would not fit into three quarters of the free memory. They "
        f"alone take, in MB: {', '.join(sizes)} (computed)."
    )


def write_csv(path: Path, table: Sequence[Row]) -> None:
    """Write one line for each row."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in table)


def draw(path: Path, table: Sequence[Row], device: str) -> None:
    """Plot operations and memory of forward and backward over the edge of the map."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2)
    labels = {"both_gflops": "GFLOPs counted", "both_mb": f"peak extra memory measured on {device} (MB)"}
    for axes, (quantity, label) in zip(panels, labels.items(), strict=True):
        for subject in BLOCKS:
            mine = [row for row in table if row.name == subject.name and getattr(row, quantity) is not None]
            values = [getattr(row, quantity) for row in mine]
            axes.loglog([edge(row) for row in mine], values, marker="o", label=subject.name)
        axes.set(xlabel="edge of the square map, 512 channels, batch 1", ylabel=label)
        axes.set_xticks(sorted({edge(row) for row in table if row.name == BLOCKS[0].name}))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.suptitle("Criss-cross attention and the non-local block: one forward and backward pass")
    figure.savefig(path, dpi=120)


def edge(row: Row) -> int:
    """Return the height of the input."""
    return int(row.input.split("x")[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table while it grows, then write the files that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, PAPER_SIZE, 128, 192], help="edges of the map")
    parser.add_argument("--clips", type=int, nargs="*", default=[49, PAPER_SIZE], help="edges of the maps of clips")
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    parser.add_argument("--plot", type=Path, help="draw it as PNG (needs matplotlib)")
    options = parser.parse_args(arguments)
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: python -m pip install matplotlib")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; use --device cpu")
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor()
    print(f"{__doc__}\ntorch {torch.__version__}, {options.device} {machine}, float32\n".replace("`", ""))
    print(f"{'':55}{'GFLOPs':>10}{'':20}{'memory, MB':>10}{'':20}{'seconds':>10}")
    heads = ("forward", "both", "paper", "forward", "both", "paper", "forward", "both")
    print(f"{'':40}{'input':>15}" + "".join(f"{head:>10}" for head in heads))
    table = []
    for row in rows(options.sizes, options.clips, options.device):
        table.append(row)
        print(line(row), flush=True)
    for row in table:
        if row.both_mb is None:
            print(too_large(row))
    if options.out:
        write_csv(options.out, table)
    if options.plot:
        draw(options.plot, table, options.device)


if __name__ == "__main__":
    sys.exit(main())
