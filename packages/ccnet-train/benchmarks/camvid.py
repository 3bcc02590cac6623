"""CamVid on a CPU: `python camvid.py fit|plain data.root=PATH [key=value ...] [--seeds N ...] [--out FILE.csv]`.

Each trains the recipe `camvid` once for each of `--seeds` and adds a line to the table of `--out`: the scores after the
last step, the seconds on the clock and those of the processor, from the reading of the data to the last evaluation.
"fit" is `ccnet-train fit`, "plain" is `peers/camvid_plain.py` with mmsegmentation's model and metric. `nox -s camvid`
runs both.
"""

import argparse
import csv
import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from ccnet_train import Recipe, load_recipe
from ccnet_train.loop import fit


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run. Scores are from 0 to 1; `what` also names what was changed of the recipe."""

    what: str
    seed: int
    miou: float
    macc: float
    aacc: float
    seconds: float
    cpu_seconds: float
    threads: int
    torch: str
    mmsegmentation: str
    cpu: str


def by_fit(recipe: Recipe) -> list[float]:
    """Train with `ccnet_train.fit`; return mIoU, mAcc and aAcc after the last step."""
    last = [record for record in fit(recipe).history if "miou" in record][-1]
    return [last["miou"], last["macc"], last["aacc"]]


def by_plain_loop(recipe: Recipe) -> list[float]:
    """Train with the loop beside mmsegmentation; return mIoU, mAcc and aAcc after the last step."""
    import camvid_plain

    scores = camvid_plain.train(recipe)
    return [scores["mIoU"], scores["mAcc"], scores["aAcc"]]


LOOPS: dict[str, Callable[[Recipe], list[float]]] = {"fit": by_fit, "plain": by_plain_loop}


def measure(loop: str, seed: int, changes: Sequence[str], runs: Path) -> Row:
    """Train once with `loop`; what it writes goes to a folder of its own below `runs`."""
    what = " ".join([loop, *(change for change in changes if not change.startswith("data.root="))])
    output = runs / f"{what.replace(' ', '_')}-{seed}"
    recipe = load_recipe("camvid", [*changes, f"seed={seed}", f"output={output}"])
    clock, processor = time.perf_counter(), time.process_time()
    miou, macc, aacc = LOOPS[loop](recipe)
    return Row(
        what=what,
        seed=seed,
        miou=round(miou, 4),
        macc=round(macc, 4),
        aacc=round(aacc, 4),
        seconds=round(time.perf_counter() - clock),
        cpu_seconds=round(time.process_time() - processor),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        mmsegmentation=importlib.metadata.version("mmsegmentation") if loop == "plain" else "",
        cpu=cpu(),
    )


def cpu() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def add(row: Row, table: Path) -> None:
    """Add `row` to the file `table`, with a heading if it is new."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train once for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=LOOPS)
    parser.add_argument("changes", nargs="*", metavar="key=value", help="for the recipe; data.root=PATH is required")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/camvid-bench"), help="where the runs are written")
    parser.add_argument("--out", type=Path, default=Path("camvid_cpu.csv"), help="table to add to")
    options = parser.parse_intermixed_args(arguments)
    for seed in options.seeds:
        row = measure(options.loop, seed, options.changes, options.runs)
        add(row, options.out)
        print(row)


if __name__ == "__main__":
    main()
