import json

import pytest

from ccnet_train.compared_run import read_runs
from ccnet_train.comparison import groups, rows
from ccnet_train.comparison_text import class_tables, group_table, plain, table


@pytest.fixture
def runs(compared_run):
    """Two seeds of a recipe and one of another, which is far worse."""
    worse = compared_run("worse", "optimiser.lr=0.5", seed=3, wrong=80)
    return read_runs([compared_run("a", seed=1), compared_run("b", seed=2), worse])


def percent(share, sign=""):
    return f"{100 * share:{sign}.2f}"


def test_a_line_for_each_run(runs):
    found = rows(runs)
    lines = table(found, groups(runs)).splitlines()
    assert len(lines) == 4
    first, last, interval, paired = found[0], found[2], found[2].intervals.miou, found[2].paired.miou
    assert lines[1].split() == [
        *[first.run.name, "1", "8", percent(first.miou)],
        *[percent(first.intervals.miou.low), "to", percent(first.intervals.miou.high)],
    ]
    assert lines[2].split()[:3] == [runs[1].name, "1", "8"]
    assert lines[3].split() == [
        *[last.run.name, "2", "8", percent(last.miou)],
        *[percent(interval.low), "to", percent(interval.high)],
        percent(last.difference),
        *[percent(paired.low), "to", percent(paired.high)],
        *["excludes", "0"],
    ]
    assert last.difference < -0.05


def test_the_number_of_the_recipe_is_there_only_where_one_is_repeated(runs):
    kept = [runs[0], runs[2]]
    assert "recipe" not in table(rows(kept), groups(kept)).splitlines()[0].split()


def test_numbers_stand_under_each_other(runs):
    lines = table(rows(runs), groups(runs)).splitlines()
    assert len({line.index("  8  ") for line in lines[1:]}) == 1


def test_a_group_has_its_mean_and_what_changed(runs):
    first, second = groups(runs)
    lines = group_table([first, second]).splitlines()
    assert lines[1].split() == ["1", "2", percent(first.mean), percent(first.deviation)]
    assert lines[2].split() == [
        *["2", "1", percent(second.mean), "-", percent(second.mean - first.mean, "+"), "-"],
        "optimiser.lr=0.5",
    ]


def test_each_class_has_its_difference(runs):
    blocks = class_tables(rows(runs)).split("\n\n")
    assert len(blocks) == 3
    title, _, ground, *_ = blocks[1].splitlines()
    assert title == f"{runs[2].name} minus {runs[0].name}"
    last = rows(runs)[2]
    assert ground.split()[:3] == [
        "ground",
        percent(last.run.evaluation.scores.iou[0]),
        percent(last.class_differences[0], "+"),
    ]


def test_an_absent_class_has_no_numbers(runs, compared_run):
    classes = ("ground", "red", "green", "nowhere")
    four = read_runs([compared_run("c", classes=classes), compared_run("d", classes=classes)])
    assert class_tables(rows(four)).splitlines()[-3].split() == ["nowhere", "-", "-", "-"]
    content = plain(rows(four), groups(four), [])
    assert content["runs"][1]["classes"]["nowhere"] == {
        "iou": None,
        "interval": [None, None],
        "difference": None,
        "paired_interval": [None, None],
        "excludes_zero": False,
    }


def test_the_data_hold_what_the_tables_show(runs):
    found, grouped = rows(runs), groups(runs)
    content = json.loads(json.dumps(plain(found, grouped, ["a note"]), allow_nan=False))
    assert content["notes"] == ["a note"]
    first, _, last = content["runs"]
    assert "difference" not in first
    assert last["difference"] == found[2].difference
    assert last["paired_interval"] == [found[2].paired.miou.low, found[2].paired.miou.high]
    assert last["excludes_zero"] is True
    assert last["classes"]["red"]["iou"] == runs[2].evaluation.scores.iou[1]
    assert content["groups"][0] == {
        "runs": [runs[0].name, runs[1].name],
        "changes": [],
        "mean": grouped[0].mean,
        "deviation": grouped[0].deviation,
        "difference": None,
        "standard_error": None,
    }
    assert content["groups"][1]["standard_error"] is None
    assert content["groups"][1]["difference"] == grouped[1].mean - grouped[0].mean
