"""A prediction beside mmsegmentation's `inference_model`: `python predict.py [--sizes HxW ...] [--rounds N]`.

R-50-D8 for Cityscapes with the same random weights on both sides, whole pictures, two threads. In: a uint8 array in
memory; out: an array of labels of its size. mmsegmentation's Resize is left out, as `predict` has none.

Each contender is a process of its own that holds its network; the processes predict in turn, `--rounds` times. Seconds
are medians; `ratio` is the median over the rounds of mmsegmentation's time over the contender's, so above 1 is faster.
`memory_mb` is the peak of the whole process during predictions (VmHWM of Linux), `network_mb` that beyond what the
process held after its imports: weights and what a prediction needs. `labels` is the share of pixels labelled as
mmsegmentation does. MB are 10^6 bytes.
"""

import argparse
import csv
import importlib
import multiprocessing
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ccnet_core as ccnet

Labels = NDArray[np.integer]
Run = Callable[[], Labels]

THREADS = 2
MODELS = {
    (512, 1024): "ccnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    (769, 769): "ccnet_r50-d8_4xb2-80k_cityscapes-769x769",
}
TWINS: dict[str, dict[str, Any]] = {
    "optimized": {},
    "compiled": {"compile": True},
    "bfloat16": {"dtype": torch.bfloat16},
    "bfloat16-compiled": {"dtype": torch.bfloat16, "compile": True},
}
"""Contenders that are `CCNet.optimized` with these options. "network" is the network as it is."""
PEER = "mmseg"
CONTENDERS = (PEER, "network", *TWINS)
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; see the head of this file."""

    size: str
    contender: str
    seconds: float
    least: float
    most: float
    ratio: float
    labels: float
    memory_mb: float
    memory_ratio: float
    network_mb: float
    network_ratio: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the process of one contender told: seconds of each round, bytes, and the labels of the last round."""

    seconds: list[float]
    peak: int
    beyond: int
    labels: Labels


def write_weights(size: tuple[int, int], folder: Path) -> None:
    """Write the same random weights for both sides, in a process that ends, so that none of it is measured."""
    import mmseg_peer

    torch.manual_seed(0)
    pair = mmseg_peer.make_pair(MODELS[size])
    torch.save(pair.theirs.state_dict(), folder / "theirs.pth")
    pair.ours.save_pretrained(folder / "ours")


def picture(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return waves under noise, (height, width, 3) RGB."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    period, phase = random.uniform(8, 60, (2, 3)), random.uniform(0, 6, 3)
    waves = [128, 90, 150] + 60 * np.sin(x[..., None] / period[0] + phase) + 40 * np.sin(y[..., None] / period[1])
    noisy: NDArray[np.uint8] = np.clip(waves + random.normal(0, 12, waves.shape), 0, 255).astype(np.uint8)
    return noisy


def prepare_mmseg(size: tuple[int, int], folder: Path) -> Run:
    """Return a prediction by mmsegmentation."""
    import mmseg_peer
    from mmseg.apis import inference_model

    settings = mmseg_peer.settings_of(MODELS[size])
    settings.model.test_cfg = {"mode": "whole"}
    settings.test_pipeline = [step for step in settings.test_pipeline if step.type != "Resize"]
    network = mmseg_peer.MODELS.build(settings.model).eval()
    network.cfg = settings
    network.load_state_dict(torch.load(folder / "theirs.pth", mmap=True))
    bgr = np.ascontiguousarray(picture(size)[..., ::-1])
    return lambda: inference_model(network, bgr).pred_sem_seg.data.squeeze().numpy()


def prepare_ours(contender: str, size: tuple[int, int], folder: Path) -> Run:
    """Return a prediction by the network or a twin of it."""
    pixels = picture(size)
    network: Any = ccnet.CCNet.from_pretrained(folder / "ours")
    if contender in TWINS:
        network = network.optimized(**TWINS[contender], picture=pixels)
    return lambda: ccnet.predict(network, pixels, mode="whole").labels


def serve(contender: str, size: tuple[int, int], folder: Path, pipe: Connection) -> None:
    """Be the process of one contender: predict whenever asked to, and tell the seconds; at last memory and labels."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    if contender == PEER:
        import mmseg_peer  # noqa: F401  (before anything of mmsegmentation)

        importlib.import_module("mmseg.apis")
    before = memory("VmRSS")
    run = prepare_mmseg(size, folder) if contender == PEER else prepare_ours(contender, size, folder)
    run()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the preparations
    pipe.send("ready")
    while pipe.recv():
        start = time.perf_counter()
        labels = run()
        pipe.send(time.perf_counter() - start)
    pipe.send((memory("VmHWM"), memory("VmHWM") - before, labels))


def memory(name: str) -> int:
    """Return bytes of this process, `VmRSS` or `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def measure(contenders: Sequence[str], size: tuple[int, int], rounds: int) -> dict[str, Measured]:
    """Start one process for each contender, one after another, then let them predict in turn."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        finish(start(spawn.Process(target=write_weights, args=(size, folder))))
        pipes, processes = {}, []
        for contender in contenders:
            pipes[contender], theirs = spawn.Pipe()
            processes.append(start(spawn.Process(target=serve, args=(contender, size, folder, theirs))))
            theirs.close()
            answer(contender, pipes[contender])
        seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                pipes[contender].send(True)
                seconds[contender].append(answer(contender, pipes[contender]))
        found = {}
        for contender in contenders:
            pipes[contender].send(False)
            peak, beyond, labels = answer(contender, pipes[contender])
            found[contender] = Measured(seconds=seconds[contender], peak=peak, beyond=beyond, labels=labels)
        for process in processes:
            finish(process)
    return found


def answer(contender: str, pipe: Connection) -> Any:
    """Wait for what a contender says next."""
    try:
        return pipe.recv()
    except EOFError:
        sys.exit(f"the process of {contender} ended too early; its own words are above")


def start(process: Any) -> Any:
    """Start a process that ends with this one."""
    process.daemon = True
    process.start()
    return process


def finish(process: Any) -> None:
    """Wait for a process. Its own traceback has been printed if it failed."""
    process.join()
    if process.exitcode:
        sys.exit(f"a process of the benchmark ended with exit code {process.exitcode}")


def rows(size: tuple[int, int], found: dict[str, Measured]) -> list[Row]:
    """Return the lines of one size, each beside the first contender."""
    first = next(iter(found.values()))
    return [
        Row(
            size=f"{size[0]}x{size[1]}",
            contender=name,
            seconds=median(measured.seconds),
            least=min(measured.seconds),
            most=max(measured.seconds),
            ratio=median(theirs / ours for theirs, ours in zip(first.seconds, measured.seconds, strict=True)),
            labels=float((measured.labels == first.labels).mean()),
            memory_mb=measured.peak / 1e6,
            memory_ratio=measured.peak / first.peak,
            network_mb=measured.beyond / 1e6,
            network_ratio=measured.beyond / first.beyond,
        )
        for name, measured in found.items()
    ]


def machine() -> str:
    """Return what the figures depend on: the date, the CPU and its instructions, versions."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info)}
    has = [name for name in INSTRUCTIONS if name in facts["flags"].split()]
    lacks = [name for name in INSTRUCTIONS if name not in has]
    names = ("torch", "mmsegmentation", "mmcv-lite", "mmengine", "ccnet-core")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cpu = f"{facts['model name']}, family {facts['cpu family']} model {facts['model']}"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {cpu}; has {', '.join(has)}; lacks {', '.join(lacks) or 'none of these'}; "
        f"{THREADS} threads; Python {platform.python_version()}, {versions}"
    )


def size_of(text: str) -> tuple[int, int]:
    """Return (height, width) of "512x1024"."""
    known = {f"{height}x{width}": (height, width) for height, width in MODELS}
    if text not in known:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(known)}, got {text!r}")
    return known[text]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each size, then write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=size_of, default=list(MODELS), metavar="HxW", help="default: both")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=CONTENDERS[:-1],
        help="ratios are to the first one (default: all but bfloat16-compiled)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="predictions of each contender (default: 7)")
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    options = parser.parse_args(arguments)
    told = machine()
    print(f"{__doc__}\n{told}\n".replace("`", ""))
    table = []
    for size in options.sizes:
        for row in rows(size, measure(options.contenders, size, options.rounds)):
            table.append(row)
            print_row(row, with_head=row.contender == options.contenders[0])
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)] + ["machine"])
            writer.writeheader()
            writer.writerows(asdict(row) | {"machine": told} for row in table)


def print_row(row: Row, *, with_head: bool) -> None:
    """Print one line, after the names of the columns for the first of a size."""
    if with_head:
        print(f"{row.size:18}{'s':>8}{'least':>8}{'most':>8}{'ratio':>7}{'labels':>10}", end="")
        print(f"{'memory_mb':>11}{'ratio':>7}{'network_mb':>12}{'ratio':>7}")
    print(f"{row.contender:18}{row.seconds:8.2f}{row.least:8.2f}{row.most:8.2f}{row.ratio:7.2f}", end="")
    print(f"{row.labels:10.6f}{row.memory_mb:11.0f}{row.memory_ratio:7.2f}", end="")
    print(f"{row.network_mb:12.0f}{row.network_ratio:7.2f}", flush=True)


if __name__ == "__main__":
    main()
