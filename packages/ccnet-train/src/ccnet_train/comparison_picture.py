"""A comparison as a picture: the mIoU of each run with its interval, and how the runs were trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ccnet_train import chart, curves
from ccnet_train.comparison import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_png(rows: Sequence[Row]) -> bytes:
    """Return a PNG of :func:`comparison_figure`."""
    return chart.png(comparison_figure(rows))


def comparison_figure(rows: Sequence[Row]) -> "Figure":
    """Draw dots with whiskers, and the curves of the runs that have any, in the same colours."""
    records = [row.run.records for row in rows]
    panels = [key for key in ("loss", "miou") if any(curves.curve(run, key)[0] for run in records)]
    drawn = chart.figure(5.5 + 4 * len(panels), max(3.2, 1.2 + 0.3 * len(rows)), layout="constrained")
    ratios = [1.3, *[1] * len(panels)]
    first, *others = drawn.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    _draw_intervals(first, rows)
    for axes, key in zip(others, panels, strict=True):
        curves.draw_panel(axes, records, key)
    return drawn


def _draw_intervals(axes: Any, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        percent, low, high = (100 * value for value in (row.miou, row.intervals.miou.low, row.intervals.miou.high))
        color = chart.color(place)
        axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot(percent, place, "o", color=color)
        axes.annotate(f"{percent:.2f}", (percent, place), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    chart.name_ticks(axes.yaxis, [_end(row.run.name) for row in rows])
    chart.plain(axes)
    axes.set_ylim(len(rows) - 0.4, -0.7)  # the first run above
    axes.set(title="mIoU (%), 95 % interval over pictures")


def _end(path: str) -> str:
    """Return the end of a path, which says more than its beginning."""
    return path if len(path) <= chart.LONGEST_NAME else f"…{path[1 - chart.LONGEST_NAME :]}"
