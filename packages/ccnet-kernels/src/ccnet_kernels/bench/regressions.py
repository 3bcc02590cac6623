"""Whether a backend became slower, or takes more memory, than in an older table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ccnet_kernels.bench.table import Conditions, Row

ALLOWED = 1.05
SAME = ("device", "driver", "threads", "cold", "torch", "numba", "numba-cuda")
KEY = ("level", "shape", "dtype", "layout", "step", "name")
QUANTITIES = {"time_ms": "ms", "peak_MB": "MB"}


def regressions(old: Sequence[Mapping[str, str]], rows: Sequence[Row], conditions: Conditions) -> list[str]:
    """Return a line for each figure of a backend that is more than 5 % above the older one, or is gone.

    Peers are left out: their change is not ours. Raises ValueError if the older table was measured under other
    conditions, or has no row in common with this one.
    """
    for name in SAME:
        if old[0].get(name) != conditions[name]:
            raise ValueError(f"not comparable: {name} was {old[0].get(name)!r} and is {conditions[name]!r}")
    before = {tuple(line[name] for name in KEY): line for line in old}
    pairs = [
        (key, before[key], row)
        for row in rows
        if (key := tuple(asdict(row)[name] for name in KEY)) in before and row.kind == "backend"
    ]
    if not pairs:
        raise ValueError("not comparable: the older table has no row of a backend in common with this one")
    return [
        f"{' '.join(key)}: {then[quantity]} -> {_shown(now, row)} {unit}"
        for key, then, row in pairs
        for quantity, unit in QUANTITIES.items()
        if then[quantity] and ((now := getattr(row, quantity)) is None or now > ALLOWED * float(then[quantity]))
    ]


def _shown(now: float | None, row: Row) -> str:
    return f"none ({row.note})" if now is None else f"{now:.4g}"
