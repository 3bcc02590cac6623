"""Our training loop against the shortest one: `python step.py [--rounds N] [--memory-rounds N] [--out FILE.csv]`.

"fit" is `ccnet_train.fit` with everything it does in a step: positions, seeds, schedule, log, progress. "bare" is a
loop of a dozen lines over torch's DataLoader. Both train ccnet_small on the same pictures, held in memory, with the
same optimiser, loss and number of threads, and look at the loss every ten steps.

Speed: one process, the loops take turns of ten steps. The pictures hand over: as fit reads the first one of its next
turn its clock stops, and bare takes a turn. Figures are medians over the turns, and the median of the ratio of
neighbours. The first two turns are not counted.

Memory: processes of their own, in turn. The peak (VmHWM of Linux) of two turns beyond what the process held when it had
imported everything: network, pictures, momentum, gradients, activations.
"""

import argparse
import csv
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils import tensorboard  # noqa: F401  fit imports it as it starts
from torch.utils.data import DataLoader

import ccnet_core as ccnet
from ccnet_train import datasets, load_recipe
from ccnet_train.loop import fit

IMAGES, SIZE, TURN, WARM_UP = 4, (180, 240), 10, 2  # pictures as in the recipe camvid-mini
LR, MOMENTUM, DECAY, POWER, AUXILIARY = 0.01, 0.9, 5e-4, 0.9, 0.4

RECIPE = f"""
recipe_version: 1
name: step
output: unset
model: {{name: ccnet_small}}
data: {{name: memory}}
train: {{iterations: 1, images_per_step: {IMAGES}}}
optimiser: {{name: sgd, lr: {LR}, momentum: {MOMENTUM}, weight_decay: {DECAY}}}
schedule: {{power: {POWER}}}
loss: {{auxiliary_weight: {AUXILIARY}}}
evaluate: {{every: 1000000}}
checkpoint: {{every: 1000000}}
log: {{every: {TURN}}}
"""


class Pictures:
    """Noise in memory. `before_turn` is called before the first picture of every turn is read."""

    classes = ("a", "b", "c")
    palette = ((0, 0, 0), (200, 0, 0), (0, 200, 0))
    task = "segmentation"
    ignore_index = 255
    flip_pairs = ()

    def __init__(self, length: int, before_turn: Callable[[], None]) -> None:
        draw = np.random.default_rng(0)
        self.images = draw.integers(0, 256, (length, 3, *SIZE), np.uint8)
        self.labels = draw.integers(0, len(self.classes), (length, *SIZE), np.uint8)
        self.labels[:, :8] = self.ignore_index
        self.before_turn, self.reads = before_turn, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> datasets.Sample:
        if self.reads % (TURN * IMAGES) == 0:
            self.before_turn()
        self.reads += 1
        return {"image": self.images[index], "label": self.labels[index], "id": str(index)}


def provider(before_turn: Callable[[], None]) -> SimpleNamespace:
    """Return what gives `Pictures` to the trainer; `before_turn` is told of the training split only."""

    def load(_: str, split: str) -> Pictures:
        return Pictures(64, before_turn) if split == "train" else Pictures(1, lambda: None)

    return SimpleNamespace(check=lambda *_: [], load=load, augmentation=lambda _: lambda sample, _: sample)


def ours(turns: int, before_turn: Callable[[], None]) -> None:
    """Run `fit` for `turns` turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.yaml"
        path.write_text(RECIPE)
        recipe = load_recipe(path, [f"output={folder}/run", f"train.iterations={turns * TURN}"])
        with mock.patch.object(datasets, "find_provider", return_value=provider(before_turn)):
            fit(recipe, quiet=True)


def bare(turns: int, before_turn: Callable[[], None]) -> Iterator[None]:
    """Train without ccnet_train; gives a moment after each step."""
    pictures = Pictures(64, before_turn)
    network = ccnet.CCNet.from_config("ccnet_small", classes=pictures.classes, palette=pictures.palette).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, turns * TURN, POWER)
    for epoch in range(10**9):
        for step, batch in enumerate(DataLoader(pictures, IMAGES, shuffle=True), epoch * len(pictures) // IMAGES):
            optimiser.zero_grad()
            output = network(batch["image"])
            logits = [network.resize_logits(each, SIZE) for each in output[:2]]
            main, auxiliary = (F.cross_entropy(each, batch["label"].long(), ignore_index=255) for each in logits)
            loss = main + AUXILIARY * auxiliary
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % TURN == 0:
                loss.item()
            yield


def time_turns(rounds: int) -> dict[str, list[float]]:
    """Return the images per second of each loop's turns."""
    seconds: dict[str, list[float]] = {"fit": [], "bare": []}
    step = bare(rounds + WARM_UP, lambda: None)
    started = None

    def hand_over() -> None:
        nonlocal started
        if started is not None:
            seconds["fit"].append(time.perf_counter() - started)
        before = time.perf_counter()
        for _ in range(TURN):
            next(step)
        started = time.perf_counter()
        seconds["bare"].append(started - before)

    ours(rounds + WARM_UP + 1, hand_over)
    return {name: [TURN * IMAGES / each for each in times[WARM_UP:][:rounds]] for name, times in seconds.items()}


def memory_of(name: str) -> None:
    """Print the peak of two turns of the loop `name` in bytes."""
    peaks: list[int] = []
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")

    def look() -> None:
        peaks.append(_memory("VmHWM"))

    if name == "fit":
        ours(3, look)
    else:
        steps = bare(3, look)
        for _ in range(2 * TURN + 1):
            next(steps)
    print(peaks[2] - before)


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def measure_memory(rounds: int) -> dict[str, list[int]]:
    """Return the peaks of `rounds` processes of each loop, in bytes."""
    peaks: dict[str, list[int]] = {"fit": [], "bare": []}
    for _ in range(rounds):
        for name, values in peaks.items():
            command = [sys.executable, "-W", "ignore", __file__, "--memory", name]
            values.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return peaks


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: images per second, and peak memory in 10^6 bytes."""

    name: str
    median: float
    least: float
    most: float
    memory: float
    versions: str
    commit: str
    machine: str


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _machine() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.get_num_threads()} threads"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the ratios, then write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each loop (default: 30)")
    parser.add_argument("--memory-rounds", type=int, default=5, help="processes of each loop (default: 5)")
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    parser.add_argument("--memory", choices=("fit", "bare"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory:
        memory_of(options.memory)
        return
    speed, peaks = time_turns(options.rounds), measure_memory(options.memory_rounds)
    names = ("torch", "accelerate", "ccnet-core", "ccnet-train")
    about = {"versions": ", ".join(f"{name} {version(name)}" for name in names)}
    about |= {"commit": _commit(), "machine": _machine()}
    table = [
        Row(
            name=name,
            median=median(rates),
            least=min(rates),
            most=max(rates),
            memory=median(peaks[name]) / 1e6,
            **about,
        )
        for name, rates in speed.items()
    ]
    print("\n".join(about.values()))
    print(f"{'':6}{'images/s':>10}{'least':>10}{'most':>10}{'memory, MB':>12}")
    for row in table:
        print(f"{row.name:6}{row.median:10.2f}{row.least:10.2f}{row.most:10.2f}{row.memory:12.1f}")
    ratio = median(fit / bare for fit, bare in zip(speed["fit"], speed["bare"], strict=True))
    print(f"images per second, fit / bare: {ratio:.3f} (aim: at least 0.97)")
    print(f"memory, fit / bare: {table[0].memory / table[1].memory:.3f} (aim: at most 1)")
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in table)


if __name__ == "__main__":
    main()
