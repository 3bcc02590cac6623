"""How training went: loss, learning rate and mIoU against the step, of one run or of several."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ccnet_train import chart
from ccnet_train.history import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"loss": "loss", "lr": "learning rate", "miou": "mIoU (%)"}

NOISY = 100
"""Points of a loss above which its running mean is drawn over it."""

Curve = tuple[list[float], list[float]]


def curves_png(runs: Mapping[str, Sequence[Record]], panels: Sequence[str] = tuple(PANELS)) -> bytes:
    """Return a PNG of :func:`curves_figure`."""
    return chart.png(curves_figure(runs, panels))


def curves_figure(runs: Mapping[str, Sequence[Record]], panels: Sequence[str] = tuple(PANELS)) -> "Figure":
    """Draw a panel for each of `panels`, keys of :data:`PANELS`, with a colour for each of `runs`.

    `runs` are the records of `metrics.jsonl` by the run's name. One run needs no legend; its best mIoU is marked.
    """
    drawn = chart.figure(4.2 * len(panels), 3.2, layout="constrained")
    for axes, key in zip(np.atleast_1d(drawn.subplots(1, len(panels))), panels, strict=True):
        draw_panel(axes, list(runs.values()), key)
    if len(runs) > 1:
        handles = [axes.plot([], [], color=chart.color(number))[0] for number in range(len(runs))]
        chart.legend(drawn, handles, list(runs))
    return drawn


def draw_panel(axes: Any, runs: Sequence[Sequence[Record]], key: str) -> None:
    """Draw the curves of one of :data:`PANELS`, a colour for each of `runs` by its place."""
    for number, records in enumerate(runs):
        _draw_curve(axes, curve(records, key), chart.color(number), key, alone=len(runs) == 1)
    chart.plain(axes)
    axes.margins(y=0.1)  # for the number over the best mIoU
    axes.set(xlabel="step", title=PANELS[key])
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5, integer=True)


def curve(records: Sequence[Record], key: str) -> Curve:
    """Return the steps that have `key`, and its values there."""
    found = [record for record in records if key in record]
    return [record["step"] for record in found], [record[key] for record in found]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return for each place the mean of up to `width` values around it, fewer at the ends."""
    half = width // 2
    return [float(np.mean(values[max(0, place - half) : place + half + 1])) for place in range(len(values))]


def _draw_curve(axes: Any, found: Curve, color: str, key: str, *, alone: bool) -> None:
    steps, values = found
    if not steps:
        return
    if key == "miou":
        values = [100 * value for value in values]
        axes.plot(steps, values, color=color, marker="o", markersize=3)
        if alone:
            best = int(np.argmax(values))
            _mark(axes, steps[best], values[best])
    elif key == "loss" and len(values) > NOISY:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, running_mean(values, len(values) // 25), color=color)
    else:
        axes.plot(steps, values, color=color)


def _mark(axes: Any, step: float, percent: float) -> None:
    axes.annotate(f"{percent:.2f}", (step, percent), (0, 5), textcoords="offset points", ha="center")
