"""Time and memory against the size of a square map."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ccnet_kernels.bench.table import Conditions, Row

STEP = "forward_backward"
PANELS = {"time_ms": "time, forward + backward (ms)", "peak_MB": "peak memory above the arguments (MB)"}
POWERS = {3: "HW(H+W)", 4: "(HW)\u00b2"}  # of the edge
LINE = 0.03  # height of a label, as a share of the logarithmic axis
Curve = list[tuple[int, float]]


def draw(path: Path, rows: Sequence[Row], conditions: Conditions) -> None:
    """Write a PNG. `rows` are of one level, batch, dtype and layout, and of square maps of several sizes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.8), layout="constrained")
    for axes, (quantity, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        found = curves(rows, quantity)
        _draw_curves(axes, found)
        axes.set(xlabel="edge of the square map (pixels)", ylabel=label)
    one = rows[0]
    batch, inner, channels, *_ = one.shape.split("x")
    figure.suptitle(
        f"Criss-cross attention (solid) and the non-local block (dotted)\n"
        f"{one.level}, batch {batch}, channels {inner}/{channels}, {one.dtype}; "
        f"{conditions['device']}, torch {conditions['torch']}",
        fontsize=11,
    )
    figure.savefig(path, dpi=120)


def curves(rows: Sequence[Row], quantity: str) -> dict[str, Curve]:
    """Return (edge, number) by contender, sorted by edge."""
    found: dict[str, Curve] = {}
    for row in rows:
        number = getattr(row, quantity)
        if row.step == STEP and number is not None:
            found.setdefault(row.name, []).append((int(row.shape.split("x")[-1]), number))
    return {name: sorted(curve) for name, curve in found.items()}


def _draw_curves(axes: Any, found: Mapping[str, Curve]) -> None:
    edges = sorted({edge for curve in found.values() for edge, _ in curve})
    colors = {name: f"C{number}" for number, name in enumerate(found)}
    for name, curve in found.items():
        style = ":" if name.startswith("non-local") else "-"
        axes.plot(*zip(*curve, strict=True), color=colors[name], linestyle=style, marker="o", markersize=4)
    start = 0.5 * min(curve[0][1] for curve in found.values())
    guides = {f"as {name}": _guide(start, power, edges) for power, name in POWERS.items()}
    for guide in guides.values():
        axes.plot(*zip(*guide, strict=True), color="0.75", linewidth=1, linestyle="--", zorder=0)
    axes.set(xscale="log", yscale="log", xlim=(edges[0] * 0.95, edges[-1] * 2.2))
    axes.set_xticks(edges, map(str, edges))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    _label_ends(axes, {**found, **guides}, colors)


def _guide(start: float, power: int, edges: Sequence[int]) -> Curve:
    """Return what grows with a power of the edge."""
    return [(edge, start * (edge / edges[0]) ** power) for edge in edges]


def _label_ends(axes: Any, found: Mapping[str, Curve], colors: Mapping[str, str]) -> None:
    """Write each name where its curve ends; a name without a color is grey."""
    low, high = axes.get_ylim()
    place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
    for edge in {curve[-1][0] for curve in found.values()}:
        ends = {name: curve[-1][1] for name, curve in found.items() if curve[-1][0] == edge}
        for name, height in zip(ends, spread(list(ends.values()), (high / low) ** LINE), strict=True):
            axes.annotate(name, (edge, height), color=colors.get(name, "0.5"), **place)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights for the labels, each at least `gap` times the next lower one, as near as that allows."""
    placed = dict.fromkeys(range(len(heights)), 0.0)
    lowest = 0.0
    for index in sorted(placed, key=lambda n: heights[n]):
        placed[index] = lowest = max(heights[index], gap * lowest)
    return list(placed.values())
