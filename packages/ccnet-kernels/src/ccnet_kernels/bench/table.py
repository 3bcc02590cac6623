"""What was measured: printed, and written to a file that says under which conditions."""

import csv
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ccnet_kernels.bench.floor import rates_of

Conditions = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender in one step of one case. Without a time, `note` says why.

    `ratio` is its time over that of this distribution's backend, or of core's where that one did not run. Bytes and
    FLOPs are those of the floor, so rates tell how far from it a contender is. Memory is above the arguments.
    """

    level: str
    shape: str
    dtype: str
    layout: str
    step: str
    name: str
    kind: str
    version: str = ""
    time_ms: float | None = None
    ratio: float | None = None
    peak_MB: float | None = None  # noqa: N815
    gbytes_per_s: float | None = None
    gflops_per_s: float | None = None
    floor_ms: float | None = None
    times_floor: float | None = None
    note: str = ""


def conditions_of(device: str, dtypes: Sequence[str], *, rounds: int, cold: bool, commit: str | None) -> Conditions:
    """Return what the figures depend on besides the case, and the rates that the floor is made of."""
    conditions = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "driver": _driver() if device == "cuda" else "",
        "threads": str(torch.get_num_threads()),
        "cold": str(cold),
        "rounds": str(rounds),
        "commit": commit or _commit(),
        "python": platform.python_version(),
    }
    conditions |= {name: _version(name) for name in ("ccnet-kernels", "torch", "numba", "numba-cuda")}
    rates = {dtype: rates_of(device, dtype) for dtype in dtypes}
    conditions["copy_gbytes_per_s"] = f"{next(iter(rates.values())).bytes / 1e9:.0f}"
    return conditions | {f"product_{dtype}_gflops_per_s": f"{rate.flops / 1e9:.0f}" for dtype, rate in rates.items()}


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the table of one case, for the terminal."""
    header = f"{'':18}{'step':18}{'ms':>10}{'ratio':>8}{'MB':>10}{'GB/s':>8}{'GFLOP/s':>10}{'x floor':>9}  note"
    return [header, *(_line(row) for row in rows)]


def _line(row: Row) -> str:
    numbers = (
        _cell(row.time_ms, 10, 3),
        _cell(row.ratio, 8, 2),
        _cell(row.peak_MB, 10, 1),
        _cell(row.gbytes_per_s, 8, 1),
        _cell(row.gflops_per_s, 10, 1),
        _cell(row.times_floor, 9, 1),
    )
    return f"{row.name:18}{row.step:18}{''.join(numbers)}  {row.note}".rstrip()


def _cell(number: float | None, width: int, digits: int) -> str:
    return f"{'-' if number is None else f'{number:.{digits}f}':>{width}}"


def write_csv(path: Path, rows: Sequence[Row], conditions: Conditions) -> None:
    """Write one line for each row, with four digits, and the conditions on every line."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*(field.name for field in fields(Row)), *conditions])
        writer.writeheader()
        for row in rows:
            cells = {name: f"{cell:.4g}" if isinstance(cell, float) else cell for name, cell in asdict(row).items()}
            writer.writerow(cells | conditions)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the lines of a file of `write_csv`. Raises ValueError, with the file's name, if it is none."""
    try:
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    missing = [field.name for field in fields(Row) if not found or field.name not in found[0]]
    if missing:
        raise ValueError(f"{path}: no table of this benchmark; it has no column {missing[0]}")
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Return the processor's name where the system tells it, and what torch makes of it."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"{name} {torch.backends.cpu.get_cpu_capability()}"


def _driver() -> str:
    return _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def _commit() -> str:
    return _output_of("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*")


def _output_of(*command: str) -> str:
    """Return the first line that a command prints, or `unknown`."""
    if shutil.which(command[0]) is None:
        return "unknown"
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.partition("\n")[0].strip() if ended.returncode == 0 else "unknown"
