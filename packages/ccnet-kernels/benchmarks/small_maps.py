"""From which size on the kernels should be chosen: `python small_maps.py FILE.csv`, a table of `ccnet_kernels.bench`.

The rule is the least number of positions, B H W, from which on the backend `numba` was never slower than core's
`torch`, for each dtype, in both steps. `NumbaBackend.prefers` holds it once it has been measured.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ccnet_kernels.bench.contenders import CORE, OURS
from ccnet_kernels.bench.table import read_csv

Times = dict[tuple[str, str], float]  # milliseconds by step and name


def least_positions(table: Sequence[dict[str, str]]) -> dict[str, int | None]:
    """Return for each dtype the least positions of the rule; None where the largest map is slower, or was not timed."""
    timed: dict[str, dict[int, Times]] = defaultdict(lambda: defaultdict(dict))
    for row in table:
        batch, _, _, *extent = map(int, row["shape"].split("x"))
        times = timed[row["dtype"]][batch * math.prod(extent)]
        if row["time_ms"]:
            times[row["step"], row["name"]] = float(row["time_ms"])
    return {dtype: _least(sizes) for dtype, sizes in timed.items()}


def _least(sizes: dict[int, Times]) -> int | None:
    found = None
    for positions in sorted(sizes, reverse=True):
        times = sizes[positions]
        steps = {step for step, _ in times}
        if not steps or any(times.get((step, OURS), math.inf) > times.get((step, CORE), 0.0) for step in steps):
            return found
        found = positions
    return found


def main(command_line: Sequence[str] | None = None) -> None:
    """Print the rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, metavar="FILE.csv")
    for dtype, positions in least_positions(read_csv(parser.parse_args(command_line).table)).items():
        print(f"{dtype}: " + ("not chosen at any size" if positions is None else f"from {positions} positions on"))


if __name__ == "__main__":
    main()
