"""What half-precision kernels move and compute, counted in the emulator: `python tests/traffic.py [B D C H W]`.

All blocks of a launch do the same, so only those of one line are run, and counted once for each line. `memory` is each
array that a launch reads or writes, once; `L2` the sectors that its warps ask for.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import emulator
import torch
from emulated_traffic import PRODUCT, SECTOR, Traffic

from ccnet_kernels.cuda import catalogue, grids, launch, passes

SHAPE = (8, 64, 512, 97, 97)  # B, D, C, H, W
Launches = list[tuple[str, Traffic]]


@contextmanager
def counted_launches(images: int) -> Iterator[Launches]:
    """Count launches in place of making them, as if each were for so many images instead of one."""
    found: Launches = []
    real = launch.run, grids.ENOUGH_BLOCKS
    launch.run = lambda name, *call: found.append((name, images * traffic_of(name, *call)))
    grids.ENOUGH_BLOCKS = grids.in_pieces(grids.ENOUGH_BLOCKS, images)
    try:
        yield found
    finally:
        launch.run, grids.ENOUGH_BLOCKS = real


def traffic_of(name: str, blocks: int, arguments: Sequence[Any], *size: int) -> Traffic:
    """Run the blocks of one line, or one block of a kernel that knows no lines; return the traffic of all blocks."""
    names = catalogue.KERNELS[name].function.__code__.co_varnames
    lines = blocks
    if "length" in names:
        narrow = next(argument for argument in arguments if isinstance(argument, int))  # channels of the first map
        lines = arguments[0].numel() // narrow // arguments[names.index("length")]
    counted = Traffic()
    emulator.run(name, blocks // lines, arguments, *size, traffic=counted)
    return lines * counted


def passes_of(shape: Sequence[int]) -> dict[str, Launches]:
    """Return the launches of a forward pass that keeps what training needs, of one that does not, and of backward."""
    images, narrow, channels, *extent = shape
    made = [
        torch.zeros(1, size, *extent, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        for size in (narrow, narrow, channels, channels)
    ]
    query, key, value, residual = made
    scale = torch.ones(1)
    with counted_launches(images) as forward:
        passes.forward(query, key, value, scale, residual)
    with counted_launches(images) as training:
        _, attended, log_sums = passes.forward_and_keep(query, key, value, scale, residual)
    with counted_launches(images) as backward:
        passes.backward(residual, query, key, value, scale, attended, log_sums)
    return {"forward": forward, "forward, training": training, "backward": backward}


def row(traffic: Traffic) -> list[str]:
    """Return the cells of a table, in the order of its head."""
    return [
        f"{traffic.touched / 1e6:.0f} MB",
        f"{traffic.sectors * SECTOR / 1e9:.2f} GB",
        f"{traffic.shared / 1e9:.2f} GB",
        f"{traffic.products * PRODUCT / 1e9:.1f} GFLOP",
        f"{traffic.exponentials / 1e6:.1f} million",
    ]


def table(shape: Sequence[int]) -> list[str]:
    """Return a line for each launch and each pass."""
    lines = ["| pass | launch | memory | L2 | shared memory | tensor cores | exponentials |", "|" + "---|" * 7]
    for name, launches in passes_of(shape).items():
        for kernel, traffic in launches:
            lines.append(" | ".join([f"| {name}", f"`{kernel.rpartition('_')[0]}`", *row(traffic)]) + " |")
        whole = sum((traffic for _, traffic in launches), Traffic())
        lines.append(" | ".join([f"| **{name}**", f"{len(launches)} launches", *row(whole)]) + " |")
    return lines


if __name__ == "__main__":
    print(*table([int(size) for size in sys.argv[1:]] or SHAPE), sep="\n")
