"""Exported networks beside torch: `python export.py [--models NAME HxW ...] [--rounds N] [--aot] [--out FILE.csv]`.

Each network, with random weights, is written as ONNX and as a program of torch.export, with `--aot` also as a package
of AOTInductor for this size, which takes minutes to compile. Every file is compared with the network before it is
timed. All take one uint8 picture and give labels of its size: normalisation, network, bilinear upsampling, argmax.
"eager" is the network called from Python in inference mode. Subjects run in turn, after one round that does not count;
figures are medians in milliseconds, `speed-up` is eager / subject.
"""

import argparse
import csv
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

import ccnet_core as ccnet
from ccnet_core.export import export_aot, export_onnx, export_program, load_aot
from ccnet_core.export.agreement import picture
from ccnet_core.export.graph import Deployed

MODELS = ("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024", "512x1024", "ccnet_small", "256x512")

Subject = Callable[[Tensor], Any]


def make_subjects(
    model: ccnet.CCNet, size: tuple[int, int], folder: Path, *, threads: int, aot: bool
) -> dict[str, Subject]:
    """Export `model`, print how the files compare, and return each way to run it."""
    print(f"ONNX: {export_onnx(model, folder / 'network.onnx')}")
    print(f"torch.export: {export_program(model, folder / 'network.pt2')}", flush=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])
    subjects = {
        "eager": Deployed(model, "labels"),
        "onnxruntime": lambda image: session.run(["labels"], {"image": image.numpy()}),
        "torch.export": torch.export.load(folder / "network.pt2").module(),
    }
    if aot:
        print(f"AOTInductor: {export_aot(model, folder / 'package.pt2', size=size)}", flush=True)
        subjects["AOTInductor"] = load_aot(folder / "package.pt2")
    return subjects


@torch.inference_mode()
def median_milliseconds(subjects: dict[str, Subject], image: Tensor, rounds: int) -> dict[str, float]:
    """Time the subjects in turn, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds + 1):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject(image)
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(times[1:]) for name, times in seconds.items()}


def compare(name: str, size: tuple[int, int], options: argparse.Namespace) -> list[dict[str, object]]:
    """Return a row for each way to run one network."""
    torch.manual_seed(0)
    model = ccnet.CCNet.from_config(name).eval()
    with tempfile.TemporaryDirectory() as folder:
        subjects = make_subjects(model, size, Path(folder), threads=options.threads, aot=options.aot)
        times = median_milliseconds(subjects, picture(1, *size), options.rounds)
    return [
        {
            "model": name,
            "picture": f"{size[0]}x{size[1]}",
            "subject": subject,
            "ms": round(milliseconds, 1),
            "speed-up": round(times["eager"] / milliseconds, 2),
        }
        for subject, milliseconds in times.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it with `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME HxW", help="models of the zoo, with sizes")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: 7)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and onnxruntime (default: 2)")
    parser.add_argument("--aot", action="store_true", help="compile packages of AOTInductor too")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    conditions = {name: version(name) for name in ("ccnet-core", "torch", "onnxruntime")} | {
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": str(options.threads),
    }
    print("; ".join(f"{name} {value}" for name, value in conditions.items()))
    rows: list[dict[str, object]] = []
    for name, size in zip(options.models[::2], options.models[1::2], strict=True):
        height, width = map(int, size.split("x"))
        for row in compare(name, (height, width), options):
            print(" | ".join(str(cell) for cell in row.values()), flush=True)
            rows.append(row)
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*conditions, *rows[0]])
            writer.writeheader()
            writer.writerows(conditions | row for row in rows)


if __name__ == "__main__":
    sys.exit(main())
