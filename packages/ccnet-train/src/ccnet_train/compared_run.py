"""The runs of a comparison: read, and refused where they cannot be compared picture by picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ccnet_train.errors import TrainError
from ccnet_train.evaluation import Evaluation
from ccnet_train.evaluation_folder import read_evaluation, read_subject
from ccnet_train.history import Record, read_records
from ccnet_train.recipe import CheckpointSection, LogSection, Recipe, load_recipe
from ccnet_train.run_folder import RunFolder, run_of
from ccnet_train.subject import Subject, class_differences


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """An evaluation by the `name` it was asked for, and the `run` its weights are from, if there is one."""

    name: str
    subject: Subject
    evaluation: Evaluation
    run: RunFolder | None

    @cached_property
    def recipe(self) -> Recipe | None:
        """What the run was trained by."""
        return load_recipe(self.run.recipe) if self.run else None

    @cached_property
    def method(self) -> Recipe | None:
        """The recipe without what may differ between repetitions of one run: its seed, and where and how it is kept."""
        if self.recipe is None:
            return None
        data = replace(self.recipe.data, root=None, workers=0)
        checkpoint, log = CheckpointSection(every=1), LogSection()
        return replace(self.recipe, name="", output="", seed=0, data=data, checkpoint=checkpoint, log=log)

    @property
    def records(self) -> list[Record]:
        """What the run wrote while it trained, nothing without a run."""
        return read_records(self.run.metrics) if self.run else []


def read_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read two or more folders of runs, whose `best/` counts, or of evaluations.

    Raises TrainError unless all are of the same pictures with the same truth, and of the same classes.
    """
    if len(paths) < 2:
        raise TrainError("A comparison needs two runs or more. Give RUN RUN ..., folders of runs or of evaluations.")
    runs = list(map(_read_run, paths))
    for other in runs[1:]:
        _refuse_unlike(runs[0], other)
    return runs


def _read_run(path: Path) -> ComparedRun:
    folder = RunFolder(path).best if run_of(path) else path
    subject = read_subject(folder)
    # A run's own folders, evaluations that lie in it, and evaluations elsewhere of weights that lie in it.
    places = (*folder.resolve().parents[:2], Path(subject.weights).expanduser().parent)
    return ComparedRun(name=str(path), subject=subject, evaluation=read_evaluation(folder), run=run_of(*places))


def _refuse_unlike(first: ComparedRun, other: ComparedRun) -> None:
    """Raise TrainError where `other` was not measured on what `first` was."""
    difference = (
        _split_differs(first.subject, other.subject)
        or class_differences(other.subject.classes, first.subject.classes)
        or _pictures_differ(first.evaluation.ids, other.evaluation.ids)
        or _truth_differs(first.evaluation, other.evaluation)
    )
    if difference:
        raise TrainError(
            f"{other.name} cannot be compared with {first.name}: {difference}. "
            "Evaluate both on the same split: ccnet-train evaluate"
        )


def _split_differs(first: Subject, other: Subject) -> str:
    return f"split {other.split!r} instead of {first.split!r}" if other.split != first.split else ""


def _pictures_differ(first: Sequence[str], other: Sequence[str]) -> str:
    if first == other:
        return ""
    lacking, more = set(first) - set(other), set(other) - set(first)
    if lacking or more:
        name, which = (min(lacking), "lacks") if lacking else (min(more), "has")
        return f"it has other pictures ({len(other)}, the first {len(first)}); it {which} {name!r}, for example"
    return "its pictures are in another order"


def _truth_differs(first: Evaluation, other: Evaluation) -> str:
    different = np.flatnonzero((first.counts[:, 1] != other.counts[:, 1]).any(1))
    return f"the labels of {first.ids[different[0]]!r} are others" if different.size else ""
