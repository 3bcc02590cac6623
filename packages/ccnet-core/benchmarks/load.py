"""What loading a weights folder costs: `python load.py [--model NAME] [--rounds N] [--out FILE.csv]`.

A folder with random weights of the authors' R-101 (71 287 911 parameters, 286 MB) is written to a temporary place.
Each subject runs in a process of its own, in turn, as a program loads once and the first time costs most. Figures are
medians over the rounds; the file is in the page cache.

"load_file" is safetensors.torch.load_file and load_state_dict of the same file into a network that is already there
and not in the time, so its memory has been written once before. "build, load_file" has the network in the time, as
from_pretrained does, which also compares every name and shape and looks for NaN.

Memory is the peak of the process during the call (VmHWM of Linux) beyond what it held before, over the size of the
file. Imports are timed inside a new process, without the start of Python. MB are 10^6 bytes.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from statistics import median

import ccnet_core as ccnet

MODEL = "ccnet_r101-d8_authors"

TIMED = """
import sys, time
from pathlib import Path
{prepare}

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024

forget_peak = Path("/proc/self/clear_refs")
if forget_peak.exists():
    forget_peak.write_text("5")
    before = memory("VmRSS")
start = time.perf_counter()
{call}
seconds = time.perf_counter() - start
print(seconds, memory("VmHWM") - before if forget_peak.exists() else float("nan"))
"""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a process does before the clock starts, and while it runs."""

    name: str
    prepare: str
    call: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: seconds, and peak memory over the size of the file."""

    name: str
    median_s: float
    least_s: float
    most_s: float
    memory: float


IMPORTS = "import torch\nfrom safetensors.torch import load_file\nimport ccnet_core as ccnet\n"
BUILD = "network = ccnet.CCNet.from_config(sys.argv[2])\n"
LOAD = 'network.load_state_dict(load_file(Path(sys.argv[1], "model.safetensors")))\n'
SUBJECTS = (
    Subject(name="load_file", prepare=IMPORTS + BUILD, call=LOAD),
    Subject(name="build, load_file", prepare=IMPORTS, call=BUILD + LOAD),
    Subject(name="from_pretrained", prepare=IMPORTS, call="network = ccnet.CCNet.from_pretrained(sys.argv[1])"),
    Subject(name="import torch", prepare="", call="import torch"),
    Subject(name="import ccnet_core", prepare="", call="import ccnet_core"),
)
RATIOS = (
    ("from_pretrained", "load_file", 1.5),
    ("from_pretrained", "build, load_file", 1.5),
    ("import ccnet_core", "import torch", 1.2),
)
"""Subject, what it is compared with, and the most that the ratio of their times should be."""


def run(subject: Subject, folder: Path, model: str) -> tuple[float, float]:
    """Return seconds and bytes of one process."""
    program = TIMED.format(prepare=subject.prepare, call=subject.call)
    command = [sys.executable, "-W", "ignore", "-c", program, str(folder), model]
    seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(peak)


def measure(folder: Path, model: str, rounds: int) -> list[Row]:
    """Run every subject in turn, `rounds` times."""
    size = (folder / "model.safetensors").stat().st_size
    results: dict[str, list[tuple[float, float]]] = {subject.name: [] for subject in SUBJECTS}
    for _ in range(rounds):
        for subject in SUBJECTS:
            results[subject.name].append(run(subject, folder, model))
    return [row(name, runs, size) for name, runs in results.items()]


def row(name: str, runs: Sequence[tuple[float, float]], size: int) -> Row:
    """Return the line of one subject."""
    times = [seconds for seconds, _ in runs]
    memory = median(peak for _, peak in runs) / size
    return Row(name=name, median_s=median(times), least_s=min(times), most_s=max(times), memory=memory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table and the ratios, then write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help=f"a model of the zoo (default: {MODEL})")
    parser.add_argument("--rounds", type=int, default=7, help="processes of each subject (default: 7)")
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    options = parser.parse_args(arguments)
    names = ("torch", "safetensors", "huggingface_hub", "ccnet-core")
    print(f"{__doc__}\n{', '.join(f'{name} {version(name)}' for name in names)}\n".replace("`", ""))
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "weights"
        ccnet.CCNet.from_config(options.model).save_pretrained(folder)
        table = measure(folder, options.model, options.rounds)
    print(f"{'':20}{'median, s':>12}{'least':>10}{'most':>10}{'memory':>10}")
    for line in table:
        print(f"{line.name:20}{line.median_s:12.3f}{line.least_s:10.3f}{line.most_s:10.3f}{line.memory:10.2f}")
    times = {line.name: line.median_s for line in table}
    for ours, theirs, most in RATIOS:
        print(f"{ours} / {theirs}: {times[ours] / times[theirs]:.2f} (aim: at most {most})")
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in table)


if __name__ == "__main__":
    sys.exit(main())
