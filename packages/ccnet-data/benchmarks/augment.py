"""From a file to an augmented sample, beside mmsegmentation: `python augment.py [--rounds N] [--out FILE.csv]`.

Pictures of 2048x1024 become samples of 512x1024 with the settings of the models for Cityscapes, here by mmcv and OpenCV
(`mmseg`: the transforms from LoadImageFromFile to PackSegInputs), there by `ccnet_data.load` and `TrainAugment`, from
the same PNG files (`files`) and from shards that `ccnet-data convert` made of them (`raw`, `png`, `jpeg`). The pictures
are generated, PNG files of the size of Cityscapes' (street_pictures.py). All lie in the system's cache.

One thread. The contenders take turns picture by picture in one process; a round is one pass over the pictures. Times
are the processor's (process_time), in ms per sample: the median over the rounds. `ratio` is the median over the rounds
of mmsegmentation's time over the contender's, so above 1 is faster. Stages: `decode`, file to whole picture and label;
`crop`, resizing and cropping; `colours`, photometric distortion; `rest`, mirror image, padding, packing.

Memory: a process of its own for each contender, in MB of 10^6 bytes: the peak of one round (VmHWM of Linux) beyond what
the process held before. The pages of a shard that were looked at count too, though they are the system's cache.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy and torch are imported

import argparse
import csv
import multiprocessing
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
from street_pictures import write_split

CROP, BASE_SCALE, RATIO, SHARE = (512, 1024), (2048, 1024), (0.5, 2.0), 0.75
PEER = "mmseg"
FILES, ENCODINGS = "files", ("raw", "png", "jpeg")
CONTENDERS = (PEER, FILES, *ENCODINGS)
STAGES = ("decode", "crop", "colours")

Spent = dict[str, float]
"""Seconds by stage."""
Run = Callable[[int, Spent], None]
"""Make the sample of a picture's number, and add what each stage took."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; see the head of this file."""

    contender: str
    ms: float
    ratio: float
    per_second: float
    decode: float
    crop: float
    colours: float
    rest: float
    memory_mb: float


@contextmanager
def timed(spent: Spent, stage: str) -> Iterator[None]:
    """Add the time of the block to its stage."""
    start = time.process_time()
    yield
    spent[stage] = spent.get(stage, 0) + time.process_time() - start


def prepare_mmseg(root: Path) -> Run:
    """Return mmsegmentation's pipeline, from a path to packed tensors."""
    import mmseg_peer  # noqa: F401  (before anything of mmsegmentation)
    import cv2  # isort: skip
    from mmcv.transforms import LoadImageFromFile, RandomFlip, RandomResize
    from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, PhotoMetricDistortion, RandomCrop

    cv2.setNumThreads(1)
    np.random.seed(0)  # their source of chance
    steps = (
        ("decode", LoadImageFromFile()),
        ("decode", LoadAnnotations()),
        ("crop", RandomResize(scale=BASE_SCALE, ratio_range=RATIO, keep_ratio=True)),
        ("crop", RandomCrop(crop_size=CROP, cat_max_ratio=SHARE)),
        ("rest", RandomFlip(prob=0.5)),
        ("colours", PhotoMetricDistortion()),
        ("rest", PackSegInputs()),
    )
    pictures, labels = (sorted((root / folder / "train/a").iterdir()) for folder in ("leftImg8bit", "gtFine"))

    def run(number: int, spent: Spent) -> None:
        results: dict[str, Any] = {
            "img_path": str(pictures[number]),
            "seg_map_path": str(labels[number]),
            "reduce_zero_label": False,
            "seg_fields": [],
        }
        for stage, step in steps:
            with timed(spent, stage):
                results = step(results)

    return run


def prepare_ours(contender: str, root: Path) -> Run:
    """Return `load` and `TrainAugment`, the functions of each stage under a clock."""
    import ccnet_data
    from ccnet_data import augment

    name, folder = ("cityscapes", root) if contender == FILES else ("shards", root / contender)
    dataset = ccnet_data.load(name, split="train", root=folder)
    pipeline = ccnet_data.TrainAugment(crop=CROP, base_scale=BASE_SCALE, ratio=RATIO, max_class_share=SHARE)
    random = np.random.default_rng(0)

    def run(number: int, spent: Spent) -> None:
        with timed(spent, "decode"):
            sample = dataset[number]
        with clocks(augment, spent), timed(spent, "augment"):
            pipeline(sample, random)

    return run


@contextmanager
def clocks(module: Any, spent: Spent) -> Iterator[None]:
    """Put the functions of the stages under a clock; "rest" is what remains of "augment"."""
    names = {"draw_crop": "crop", "resize_crop": "crop", "distort": "colours"}

    def clocked(name: str, stage: str) -> Callable[..., Any]:
        function = getattr(module, name)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            with timed(spent, stage):
                return function(*arguments)

        return call

    with mock.patch.multiple(module, **{name: clocked(name, stage) for name, stage in names.items()}):
        yield


def convert(root: Path) -> None:
    """Write the shards of each encoding, as a user would."""
    for encoding in ENCODINGS:
        words = ["convert", "cityscapes", "--root", root, "--encoding", encoding, "--out", root / encoding]
        subprocess.run([sys.executable, "-m", "ccnet_data", *words], check=True)


def prepare(contender: str, root: Path) -> Run:
    """Return what makes samples in the way of a contender."""
    return prepare_mmseg(root) if contender == PEER else prepare_ours(contender, root)


def peak(contender: str, root: Path, count: int, pipe: Any) -> None:
    """Tell the peak of one round, in MB beyond what the process held; runs in a process of its own."""
    run = prepare(contender, root)
    run(0, {})
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    for number in range(count):
        run(number, {})
    pipe.send((memory("VmHWM") - before) / 1e6)


def memory(name: str) -> int:
    """Return bytes of this process, `VmRSS` or `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def peak_of(contender: str, root: Path, count: int) -> float:
    """Measure the memory of a contender in a new process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=peak, args=(contender, root, count, theirs))
    process.start()
    theirs.close()
    told: float = ours.recv()
    process.join()
    return told


def measure(runs: dict[str, Run], rounds: int, count: int) -> dict[str, list[Spent]]:
    """Return what each round of each contender took by stage, and "all". The first round is not counted."""
    taken: dict[str, list[Spent]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        spent: dict[str, Spent] = {name: {} for name in runs}
        for number in range(count):
            for name, run in runs.items():
                with timed(spent[name], "all"):
                    run(number, spent[name])
        for name, stages in spent.items():
            taken[name].append({stage: seconds / count * 1e3 for stage, seconds in stages.items()})
    return {name: found[1:] for name, found in taken.items()}


def row(name: str, taken: dict[str, list[Spent]], memory_mb: float) -> Row:
    """Return one line of the table."""
    whole = [spent["all"] for spent in taken[name]]
    stages = {stage: median(spent[stage] for spent in taken[name]) for stage in STAGES}
    rest = median(spent["all"] - sum(spent[stage] for stage in STAGES) for spent in taken[name])
    ratio = median(theirs["all"] / ours for theirs, ours in zip(taken[PEER], whole, strict=True))
    ms = median(whole)
    return Row(contender=name, ms=ms, ratio=ratio, per_second=1e3 / ms, rest=rest, memory_mb=memory_mb, **stages)


def machine() -> str:
    """Return what the figures depend on: the date, the CPU, versions."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info)}
    names = ("mmsegmentation", "mmcv-lite", "opencv-python-headless", "pillow", "numpy", "ccnet-data")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cpu = f"{facts['model name']}, family {facts['cpu family']} model {facts['model']}"
    return f"{datetime.now(UTC):%Y-%m-%d}; {cpu}; 1 thread; Python {platform.python_version()}, {versions}"


def print_table(rows: Sequence[Row]) -> None:
    """Print the names of the columns and a line for each contender."""
    names = [field.name for field in fields(Row)]
    print(f"{names[0]:12}" + "".join(f"{name:>11}" for name in names[1:]))
    for line in rows:
        print(f"{line.contender:12}" + "".join(f"{getattr(line, name):11.2f}" for name in names[1:]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="passes over the pictures (default: 15)")
    parser.add_argument("--pictures", type=int, default=8, help="pictures to generate (default: 8)")
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    options = parser.parse_args(arguments)
    told = machine()
    print(f"{__doc__}\n{told}\n".replace("`", ""), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_split(root, options.pictures)
        convert(root)
        peaks = {name: peak_of(name, root, options.pictures) for name in CONTENDERS}
        runs = {name: prepare(name, root) for name in CONTENDERS}
        taken = measure(runs, options.rounds, options.pictures)
    table = [row(name, taken, peaks[name]) for name in CONTENDERS]
    print_table(table)
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)] + ["machine"])
            writer.writeheader()
            writer.writerows(asdict(line) | {"machine": told} for line in table)


if __name__ == "__main__":
    main()
