"""confusion.png: which class is taken for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ccnet_train import chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WITH_NUMBERS = 24
"""Classes up to which a percentage fits into a cell."""

WITH_NUMBER, WITHOUT_NUMBER = 0.42, 0.15
"""Inches of a cell's edge. The smaller one holds a line of a class's name beside it."""

SMALLEST_NUMBER = 0.005
"""A share below it would be written as 0."""


def confusion_png(confusion: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Return a PNG of `confusion` (K, K), row the true class and column the predicted one; see `confusion_figure`."""
    return chart.png(confusion_figure(confusion, classes))


def confusion_figure(confusion: NDArray[np.int64], classes: Sequence[str]) -> "Figure":
    """Draw the share of each true class's pixels that each class was predicted for.

    The shade goes with the square root of the share, so that a rare confusion is seen too. A class without any true
    pixel has a grey row.
    """
    shares = _shares(confusion)
    numbered = len(classes) <= MOST_WITH_NUMBERS
    edge = len(classes) * (WITH_NUMBER if numbered else WITHOUT_NUMBER)
    drawn = chart.figure(edge, edge)
    axes = drawn.add_axes((0, 0, 1, 1))
    _draw_cells(axes, shares)
    size = 9 if numbered else 7
    chart.name_ticks(axes.yaxis, classes, fontsize=size)
    chart.name_ticks(axes.xaxis, classes, fontsize=size, rotation=90)
    axes.tick_params(length=0)
    axes.set_ylabel("true class")
    if numbered:
        _write_numbers(axes, shares)
        axes.set_xlabel("predicted class\n(percent of the true class's pixels)")
    else:  # a reader in the middle of many rows needs the names on both sides
        axes.tick_params(labeltop=True, labelright=True)
        axes.set_xlabel("predicted class\n(the darker, the larger its share of the true class's pixels)")
    return drawn


def _shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each row's pixels, nan in a row without any."""
    rows = confusion.sum(1, keepdims=True)
    return np.where(rows > 0, confusion / np.maximum(rows, 1), np.nan)


def _draw_cells(axes: Any, shares: NDArray[np.float64]) -> None:
    from matplotlib.colors import PowerNorm

    axes.set_facecolor("0.85")
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="auto", interpolation="nearest")
    between = np.arange(1, len(shares)) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="0.9", linewidth=0.4)


def _write_numbers(axes: Any, shares: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(shares >= SMALLEST_NUMBER):
        share = shares[row, column]
        colour = "white" if share > 0.35 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color=colour)
