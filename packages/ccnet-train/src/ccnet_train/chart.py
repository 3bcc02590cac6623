"""What all charts share: a figure without any global state, names drawn as they are, and the way to a PNG."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ccnet_core.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS = 144
"""Per inch, so that a chart stays sharp on a screen of two dots per pixel."""

LONGEST_NAME = 32
"""Characters of a name in a chart."""


def figure(width: float, height: float, **options: Any) -> "Figure":
    """Return an empty figure, in inches, that pyplot knows nothing of."""
    from matplotlib.figure import Figure  # here, as it takes half a second

    return Figure(figsize=(width, height), dpi=DOTS, **options)


def png(drawn: "Figure") -> bytes:
    """Return the content of a PNG, cut to what is drawn. A letter that the font lacks is a box."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        drawn.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def short(name: str) -> str:
    """Return a name for a chart: one line, not too long."""
    line = one_line(name)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def name_ticks(axis: Any, names: Sequence[str], **style: Any) -> None:
    """Write a name at 0, 1, 2, ... of an axis. A "$" in it begins no formula."""
    axis.set_ticks(range(len(names)), [short(name) for name in names], parse_math=False, **style)


def color(number: int) -> str:
    """Return the colour of a run by its place; after ten they begin again."""
    return f"C{number % 10}"


def plain(axes: Any) -> None:
    """Take away what is not data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def legend(drawn: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """Write below the figure which colour is whose."""
    written = drawn.legend(handles, list(map(short, names)), loc="outside lower center", ncols=3, frameon=False)
    for text in written.get_texts():
        text.set_parse_math(False)
