"""A comparison in lines for the terminal, in percent, and as plain data for JSON, from 0 to 1."""

from collections.abc import Sequence
from itertools import repeat
from math import isnan
from typing import Any

from ccnet_core.text import one_line
from ccnet_train.bootstrap import LEVEL, RESAMPLES, Interval
from ccnet_train.comparison import Group, Row

CHANCE = "Where nothing differs, the interval of one class in twenty excludes 0 by chance."


def table(rows: Sequence[Row], groups: Sequence[Group]) -> str:
    """Return a line for each run: mIoU, and its difference from the first run's.

    Where a recipe is repeated, its number in :func:`group_table` stands there too.
    """
    lines = [("run", "recipe", "pictures", "mIoU", "95 % interval", "difference", "95 % interval, paired", "")]
    for row in rows:
        number = next(place for place, group in enumerate(groups, 1) if row.run in group.runs)
        numbers = str(len(row.run.evaluation.ids)), _percent(row.miou), _range(row.intervals.miou)
        apart = ("", "", "") if row is rows[0] else _difference(row.difference, row.paired.miou)
        lines.append((one_line(row.run.name), str(number), *numbers, *apart))
    repeated = len(groups) < len(rows)
    return _aligned(lines if repeated else [(run, *rest) for run, _, *rest in lines])


def class_tables(rows: Sequence[Row]) -> str:
    """Return a table for each run but the first: the IoU of each class, and its difference from the first run's."""
    first, *others = rows
    return "\n\n".join([*(_class_table(first, other) for other in others), CHANCE])


def group_table(groups: Sequence[Group]) -> str:
    """Return a line for each group by its number: its mean over seeds, and what is changed from the first one."""
    first = groups[0]
    lines = [("recipe", "seeds", "mean mIoU", "deviation", "difference", "standard error", "changed")]
    for place, group in enumerate(groups, 1):
        numbers = str(len(group.runs)), _percent(group.mean), _percent(group.deviation)
        apart = ("", "")
        if group is not first:
            apart = _percent(group.mean - first.mean, sign="+"), _percent(group.standard_error(first))
        lines.append((str(place), *numbers, *apart, ", ".join(map(one_line, group.changes))))
    return _aligned(lines)


def _class_table(first: Row, other: Row) -> str:
    title = f"{one_line(other.run.name)} minus {one_line(first.run.name)}"
    lines = [("class", "IoU", "difference", "95 % interval, paired", "")]
    classes, ious = other.run.evaluation.classes, other.run.evaluation.scores.iou
    for name, iou, difference, interval in zip(classes, ious, other.class_differences, other.paired.iou, strict=True):
        lines.append((one_line(name), _percent(iou), *_difference(difference, interval)))
    return f"{title}\n{_aligned(lines)}"


def _difference(value: float, interval: Interval) -> tuple[str, str, str]:
    return _percent(value, sign="+"), _range(interval, sign="+"), "excludes 0" if interval.excludes_zero else ""


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Put the cells of `lines` under each other: the first and the last to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = []
    for first, *numbers, last in lines:
        middle = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:-1], strict=True)]
        shown.append("  ".join([f"{first:{widths[0]}}", *middle, last]).rstrip())
    return "\n".join(shown)


def _range(interval: Interval, sign: str = "") -> str:
    return "-" if isnan(interval.low) else f"{_percent(interval.low, sign)} to {_percent(interval.high, sign)}"


def _percent(share: float, sign: str = "") -> str:
    return "-" if isnan(share) else f"{100 * share:{sign}.2f}"


def plain(rows: Sequence[Row], groups: Sequence[Group], notes: Sequence[str]) -> dict[str, Any]:
    """Return the comparison as data for JSON; null is what does not exist."""
    return {
        "level": LEVEL,
        "resamples": RESAMPLES,
        "runs": [_plain_row(row, is_first=row is rows[0]) for row in rows],
        "groups": [_plain_group(group, groups[0]) for group in groups],
        "notes": list(notes),
    }


def _plain_row(row: Row, *, is_first: bool) -> dict[str, Any]:
    evaluation = row.run.evaluation
    whole = _plain_score("miou", row.miou, row.intervals.miou)
    classes = list(map(_plain_score, repeat("iou"), evaluation.scores.iou, row.intervals.iou))
    if not is_first:
        whole |= _plain_difference(row.difference, row.paired.miou)
        for score, difference, paired in zip(classes, row.class_differences, row.paired.iou, strict=True):
            score |= _plain_difference(difference, paired)
    named = dict(zip(evaluation.classes, classes, strict=True))
    return {"run": row.run.name, "pictures": len(evaluation.ids), **whole, "classes": named}


def _plain_score(name: str, value: float, interval: Interval) -> dict[str, Any]:
    return {name: _number(value), "interval": _ends(interval)}


def _plain_difference(value: float, paired: Interval) -> dict[str, Any]:
    return {"difference": _number(value), "paired_interval": _ends(paired), "excludes_zero": paired.excludes_zero}


def _plain_group(group: Group, first: Group) -> dict[str, Any]:
    return {
        "runs": [run.name for run in group.runs],
        "changes": list(group.changes),
        "mean": _number(group.mean),
        "deviation": _number(group.deviation),
        "difference": None if group is first else _number(group.mean - first.mean),
        "standard_error": None if group is first else _number(group.standard_error(first)),
    }


def _ends(interval: Interval) -> list[float | None]:
    return [_number(interval.low), _number(interval.high)]


def _number(value: float) -> float | None:
    return None if isnan(value) else value
