"""How runs differ: picture by picture from the first one, and over seeds where a recipe was repeated."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from statistics import mean, stdev
from typing import Any

from ccnet_core import strict
from ccnet_train.bootstrap import Intervals, intervals, paired_intervals
from ccnet_train.compared_run import ComparedRun
from ccnet_train.recipe_text import flat


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run with the `intervals` of its scores, its differences from the first run, and their `paired` intervals."""

    run: ComparedRun
    intervals: Intervals
    difference: float
    class_differences: tuple[float, ...]
    paired: Intervals

    @property
    def miou(self) -> float:
        """From 0 to 1."""
        return self.run.evaluation.scores.miou


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in their seeds only. `changes` are the keys whose values differ from the first group's."""

    runs: tuple[ComparedRun, ...]
    changes: tuple[str, ...]

    @cached_property
    def mean(self) -> float:
        """Mean of the runs' mIoU."""
        return mean(run.evaluation.scores.miou for run in self.runs)

    @cached_property
    def deviation(self) -> float:
        """Sample standard deviation of the runs' mIoU, nan for one run."""
        mious = [run.evaluation.scores.miou for run in self.runs]
        return stdev(mious) if len(mious) > 1 else float("nan")

    def standard_error(self, other: "Group") -> float:
        """Return that of the difference between both means, nan if one of them is of a single run."""
        return sqrt(sum(group.deviation**2 / len(group.runs) for group in (self, other)))


def rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """Compare each run with the first one."""
    return [_row(runs[0], run) for run in runs]


def groups(runs: Sequence[ComparedRun]) -> list[Group]:
    """Put runs together whose recipes differ in nothing but the seed, and that were evaluated alike.

    A seed is once in a group, so that `best/` and `last/` of one run are no repetitions. A run without a recipe is
    alone.
    """
    found: list[list[ComparedRun]] = []
    for run in runs:
        fitting = (group for group in found if _repeats(run, group))
        group = next(fitting, None)
        if group is None:
            found.append([run])
        else:
            group.append(run)
    return [Group(runs=tuple(group), changes=_changes(found[0][0], group[0])) for group in found]


def notes(runs: Sequence[ComparedRun]) -> list[str]:
    """Say which runs were predicted otherwise than the first one."""
    first = runs[0]
    return [
        f"{run.name} was predicted otherwise than {first.name}: {', '.join(changes)}"
        for run in runs
        if (changes := _changed(_prediction(first), _prediction(run)))
    ]


def _row(first: ComparedRun, run: ComparedRun) -> Row:
    before, now = first.evaluation, run.evaluation
    return Row(
        run=run,
        intervals=intervals(now.counts),
        difference=now.scores.miou - before.scores.miou,
        class_differences=tuple(b - a for a, b in zip(before.scores.iou, now.scores.iou, strict=True)),
        paired=paired_intervals(before.counts, now.counts),
    )


def _repeats(run: ComparedRun, group: Sequence[ComparedRun]) -> bool:
    if run.recipe is None or run.method != group[0].method or _prediction(run) != _prediction(group[0]):
        return False
    return run.recipe.seed not in [other.recipe.seed for other in group if other.recipe]


def _prediction(run: ComparedRun) -> dict[str, Any]:
    subject = run.subject
    return {**strict.to_mapping(subject.plan), "precision": subject.precision}


def _changes(first: ComparedRun, other: ComparedRun) -> tuple[str, ...]:
    """Return "key=value" of what `other` has otherwise than `first`."""
    if first.method is None or other.method is None:
        return ()
    trained = _changed(strict.to_mapping(first.method), strict.to_mapping(other.method))
    return (*trained, *_changed(_prediction(first), _prediction(other)))


def _changed(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    before, now = flat(first), flat(other)
    keys = sorted(before.keys() | now.keys())
    return [f"{key}={now.get(key)}" for key in keys if before.get(key) != now.get(key)]
