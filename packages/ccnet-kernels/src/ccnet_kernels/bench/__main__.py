"""The command `python -m ccnet_kernels.bench`."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import torch

from ccnet_kernels.bench.case import DTYPES, LAYOUTS, LEVELS, Case
from ccnet_kernels.bench.check import stop_if_ours_is_wrong
from ccnet_kernels.bench.contenders import OURS, contenders, named
from ccnet_kernels.bench.measure import measure
from ccnet_kernels.bench.plot import draw
from ccnet_kernels.bench.regressions import regressions
from ccnet_kernels.bench.table import conditions_of, lines, read_csv, write_csv

TYPICAL = (1, 64, 512, 97, 97)
DESCRIPTION = """\
Check every attention backend and every peer against a plain formula in float64, then time them in turn. If this
distribution's backend is wrong the exit status is 1 and there is no time at all; a peer that is wrong, or cannot
run, has a line that says why."""


def main(command_line: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argument_parser()
    options = parser.parse_args(command_line)
    try:
        older = read_csv(options.compare) if options.compare else None
        found = contenders(options.only)
        cases = cases_of(options)
    except ValueError as error:
        parser.error(str(error))
    if options.plot and find_spec("matplotlib") is None:
        parser.error('--plot needs matplotlib: python -m pip install "ccnet-kernels[plot]"')
    ours = named(OURS, found)
    if ours is not None:
        stop_if_ours_is_wrong(ours, cases)
    settings = {"rounds": options.rounds, "cold": options.cold}
    conditions = conditions_of(options.device, options.dtype, **settings, commit=options.commit)
    print(", ".join(f"{name} {text}" for name, text in conditions.items() if text))
    rows = []
    for case in cases:
        new = measure(case, found, **settings)
        print(f"\n{case}", *lines(new), sep="\n", flush=True)
        rows += new
        if options.out:
            write_csv(options.out, rows, conditions)
    if options.plot:
        draw(options.plot, rows, conditions)
    if older is not None:
        try:
            slower = regressions(older, rows, conditions)
        except ValueError as error:
            parser.error(str(error))
        if slower:
            raise SystemExit("\n".join(["more than 5 % worse than before:", *slower]))


def argument_parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    parser = argparse.ArgumentParser(prog="python -m ccnet_kernels.bench", description=DESCRIPTION)
    cuda = torch.cuda.is_available()
    add = parser.add_argument
    add("--device", choices=["cpu", "cuda"], default="cuda" if cuda else "cpu")
    add("--shape", type=int, nargs="+", action="append", metavar="N", help="B D C H W or B D C T H W; may be repeated")
    add(
        "--sizes",
        type=_range,
        metavar="FROM:TO",
        help="square maps in place of the shape's H W: 32:256 is 32 48 ... 256",
    )
    add("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    add("--level", nargs="+", choices=LEVELS, default=["operator"], help="one attention step, or the recurrent block")
    add("--layout", choices=LAYOUTS, default="contiguous", help="of the maps in memory (default: contiguous)")
    add("--only", nargs="+", metavar="NAME", help="some of the contenders")
    add("--rounds", type=_positive, default=9, help="timed rounds (default: 9); the median counts")
    add("--cold", action="store_true", help="empty the L2 cache before each call (CUDA)")
    add("--out", type=Path, metavar="FILE.csv")
    add("--compare", type=Path, metavar="OLD.csv", help="exit with 1 if a backend is more than 5 %% worse than there")
    add("--plot", type=Path, metavar="FILE.png", help="time and memory against the map's size; wants --sizes")
    add("--commit", help="for the table, where git cannot tell")
    return parser


def cases_of(options: argparse.Namespace) -> list[Case]:
    """Return what is asked for, sizes last. Raises ValueError for what cannot be computed or drawn."""
    shapes = [tuple(shape) for shape in options.shape or [TYPICAL]]
    for shape in shapes:
        if len(shape) not in (5, 6) or min(shape) < 1:
            raise ValueError(f"--shape takes five or six numbers from 1, B D C H W or B D C T H W; got {shape}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device here")
    if options.plot and (not options.sizes or len(shapes) * len(options.dtype) * len(options.level) > 1):
        raise ValueError("--plot shows one shape, dtype and level over --sizes")
    if options.sizes:
        shapes = [(*shape[:3], edge, edge) for shape in shapes for edge in options.sizes]
    return [
        Case(level=level, shape=shape, dtype=dtype, device=options.device, layout=options.layout)
        for level, dtype, shape in product(options.level, options.dtype, shapes)
    ]


def _range(text: str) -> list[int]:
    """Return the powers of two and the numbers half-way between them, 32, 48, 64, ..., within FROM:TO."""
    try:
        first, last = map(int, text.split(":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not FROM:TO") from error
    steps = sorted({2**n for n in range(1, 20)} | {3 * 2**n for n in range(20)})
    found = [edge for edge in steps if first <= edge <= last]
    if not found:
        raise argparse.ArgumentTypeError(f"{text} holds no power of two and no number between two of them")
    return found


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1")
    return int(text)


if __name__ == "__main__":
    main()
