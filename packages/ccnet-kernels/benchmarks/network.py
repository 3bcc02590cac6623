"""Whole networks by attention: `python packages/ccnet-kernels/benchmarks/network.py [--tiny] [--out FILE.csv]`.

One step of training ResNet-101 in bfloat16 autocast, 8 pictures of 769 x 769, with SGD: this distribution's kernels and
core's torch path in channels_last beside mmcv's attention in torch's own layout. Then a prediction of one picture of
1024 x 2048, whole and part by part. Milliseconds are medians of interleaved rounds, `ratio` is the time of the
baseline, mmcv's attention, over that of the row, and MB are the peak above network, optimiser and pictures. `--tiny`
shows on a CPU that the script works. Needs ccnet-core.
"""

import argparse
import csv
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

import ccnet_core as ccnet
from ccnet_core import rcca
from ccnet_kernels.bench.case import Attend
from ccnet_kernels.bench.clock import medians
from ccnet_kernels.bench.contenders import CORE, OURS, contenders
from ccnet_kernels.bench.memory import peak_bytes

BASELINE = "einsum"
FORMATS = {OURS: torch.channels_last, CORE: torch.channels_last, BASELINE: torch.contiguous_format}
AUXILIARY = 0.4


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is computed on which device; sizes are (H, W)."""

    device: str
    model: str
    batch: int
    crop: tuple[int, int]
    picture: tuple[int, int]
    rounds: int


REAL = Setting(
    device="cuda",
    model="ccnet_r101-d8_4xb2-40k_cityscapes-769x769",
    batch=8,
    crop=(769, 769),
    picture=(1024, 2048),
    rounds=7,
)
TINY = Setting(device="cpu", model="ccnet_small", batch=2, crop=(33, 41), picture=(32, 64), rounds=1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `ratio` says how many times as fast as the baseline this is."""

    step: str
    attention: str
    layout: str
    milliseconds: float
    ratio: float
    peak_mb: float


class Network:
    """A network whose attention is computed by `attend`, with its optimiser."""

    def __init__(self, attention: str, attend: Attend, setting: Setting) -> None:
        torch.manual_seed(0)
        self.attention, self.attend, self.layout = attention, attend, FORMATS[attention]
        self.model = ccnet.CCNet.from_config(setting.model).to(setting.device, memory_format=self.layout)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        self.pictures = torch.randint(256, (setting.batch, 3, *setting.crop), dtype=torch.uint8, device=setting.device)
        self.labels = torch.randint(19, (setting.batch, *setting.crop), device=setting.device)
        self.picture = torch.randint(256, (1, 3, *setting.picture), dtype=torch.uint8, device=setting.device)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute in bfloat16, with this network's attention."""
        autocast = torch.autocast(self.pictures.device.type, torch.bfloat16)
        with autocast, mock.patch.object(rcca, "select", return_value=self.attend):
            yield

    def train(self) -> None:
        """Make one step."""
        self.model.train()
        self.optimiser.zero_grad()
        with self.computing():
            output = self.model(self.pictures)
            logits = [self.model.resize_logits(each, self.labels.shape[1:]) for each in output[:2]]
        main, auxiliary = (F.cross_entropy(each.float(), self.labels) for each in logits)
        (main + AUXILIARY * auxiliary).backward()
        self.optimiser.step()

    @torch.no_grad()
    def predict(self) -> Tensor:
        """Return the labels of the picture."""
        self.model.eval()
        with self.computing():
            logits = self.model(self.picture, auxiliary=False).logits
            return self.model.resize_logits(logits, self.picture.shape[2:]).argmax(1)

    @torch.no_grad()
    def parts(self) -> dict[str, Callable[[], object]]:
        """Return the parts of a prediction, one after the other, each with the input that the one before gave."""
        self.model.eval()
        head = self.model.head
        with self.computing():
            features = self.model.features(self.picture)
            reduced = head.reduce(features[-1])
            attended = head.attention(reduced)
            logits, _ = head.decide(features[-1], attended, consistency=False)
        calls = {
            "backbone": lambda: self.model.features(self.picture),
            "reduce": lambda: head.reduce(features[-1]),
            "attention": lambda: head.attention(reduced),
            "refine, fuse, classify": lambda: head.decide(features[-1], attended, consistency=False),
            "upsample, argmax": lambda: self.model.resize_logits(logits, self.picture.shape[2:]).argmax(1),
        }
        return {name: functools.partial(self._predicting, call) for name, call in calls.items()}

    @torch.no_grad()
    def _predicting(self, call: Callable[[], object]) -> None:
        with self.computing():
            call()


def networks(setting: Setting) -> list[Network]:
    """Return a network for each attention that can compute on this device; kernels need a GPU."""
    usable = [one for one in contenders(FORMATS) if setting.device == "cuda" or one.name != OURS]
    return [Network(one.name, one.attend, setting) for one in usable]


def rows(setting: Setting) -> Iterator[Row]:
    """Measure."""
    found = networks(setting)
    steps: dict[str, dict[str, Callable[[], object]]] = {
        "train": {one.attention: one.train for one in found},
        "predict": {one.attention: one.predict for one in found},
    }
    parts = {one.attention: one.parts() for one in found}
    for part in parts[BASELINE]:
        steps[f"predict: {part}"] = {name: calls[part] for name, calls in parts.items()}
    for step, calls in steps.items():
        peaks = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
        times = medians(calls, setting.device, setting.rounds)
        for one in found:
            yield Row(
                step=step,
                attention=one.attention,
                layout=str(one.layout).removeprefix("torch."),
                milliseconds=times[one.attention],
                ratio=times[BASELINE] / times[one.attention],
                peak_mb=peaks[one.attention] / 1e6,
            )


def main(command_line: Sequence[str] | None = None) -> None:
    """Print the table while it grows; write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small network and small pictures on the CPU")
    parser.add_argument("--out", type=Path, metavar="FILE.csv")
    options = parser.parse_args(command_line)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; --tiny runs on the CPU")
    torch.backends.cudnn.benchmark = True
    table = []
    for row in rows(TINY if options.tiny else REAL):
        table.append(row)
        numbers = f"{row.milliseconds:10.2f} ms{row.ratio:8.2f} x{row.peak_mb:10.0f} MB"
        print(f"{row.step:32}{row.attention:10}{row.layout:18}{numbers}", flush=True)
        if options.out:
            with options.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(Row)])
                writer.writeheader()
                writer.writerows(asdict(row) for row in table)


if __name__ == "__main__":
    main()
