from math import isnan, sqrt

import pytest

from ccnet_core.config import InferencePlan
from ccnet_train.bootstrap import intervals, paired_intervals
from ccnet_train.compared_run import read_runs
from ccnet_train.comparison import groups, notes, rows


def miou(run):
    return run.evaluation.scores.miou


def test_each_run_stands_beside_the_first_one(compared_run):
    runs = read_runs([compared_run("a", seed=1), compared_run("b", seed=2, wrong=40), compared_run("c", seed=3)])
    found = rows(runs)
    assert [row.run for row in found] == runs
    first, second, _ = runs
    assert found[1].difference == pytest.approx(miou(second) - miou(first))
    assert found[1].intervals == intervals(second.evaluation.counts)
    assert found[1].paired == paired_intervals(first.evaluation.counts, second.evaluation.counts)
    assert found[1].class_differences[2] == second.evaluation.scores.iou[2] - first.evaluation.scores.iou[2]
    assert found[0].difference == 0
    assert not found[0].paired.miou.excludes_zero


def test_runs_of_one_recipe_are_a_group(compared_run):
    folders = [compared_run(f"r{seed}", seed=seed, wrong=30) for seed in range(3)]
    folders += [compared_run(f"x{seed}", "optimiser.lr=0.5", seed=seed, wrong=60) for seed in range(2)]
    runs = read_runs([folders[0], folders[3], *folders[1:3], folders[4]])
    first, second = groups(runs)
    assert [run.recipe.seed for run in first.runs] == [0, 1, 2]
    assert (first.changes, second.changes) == ((), ("optimiser.lr=0.5",))
    values = [miou(run) for run in first.runs]
    mean = sum(values) / 3
    deviation = sqrt(sum((value - mean) ** 2 for value in values) / 2)
    assert (first.mean, first.deviation) == pytest.approx((mean, deviation))
    assert second.standard_error(first) == pytest.approx(sqrt(deviation**2 / 3 + second.deviation**2 / 2))


def test_one_run_has_no_deviation(compared_run):
    first, second = groups(read_runs([compared_run("a"), compared_run("b", "optimiser.lr=0.5")]))
    assert isnan(first.deviation)
    assert isnan(second.standard_error(first))


def test_two_evaluations_of_one_run_are_no_repetition(compared_run):
    run = compared_run("a", seed=1)
    last = compared_run("a/evaluation/last-val", seed=1, run=False)
    assert len(groups(read_runs([run, last]))) == 2
    other = compared_run("b", seed=2)
    assert [len(group.runs) for group in groups(read_runs([run, last, other]))] == [2, 1]


def test_runs_without_a_recipe_are_alone(compared_run):
    folders = [compared_run(name, run=False, weights="org/name") for name in "ab"]
    assert [group.changes for group in groups(read_runs(folders))] == [(), ()]


def test_another_way_of_predicting_is_noted_and_makes_another_group(compared_run):
    plan = InferencePlan(flip=True)
    runs = read_runs([compared_run("a", seed=1), compared_run("b", seed=2, plan=plan, precision="fp16")])
    (note,) = notes(runs)
    assert note.endswith("a: flip=True, precision=fp16")
    assert groups(runs)[1].changes == ("flip=True", "precision=fp16")
    assert notes(runs[:1] * 2) == []
