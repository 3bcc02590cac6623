import pytest

from ccnet_train import TrainError
from ccnet_train.compared_run import read_runs


def test_of_a_run_its_best_weights_count_and_it_knows_its_recipe(compared_run):
    first, second = read_runs([compared_run("a", seed=3), compared_run("b", seed=4)])
    assert first.name.endswith("/a")
    assert (first.recipe.seed, second.recipe.seed) == (3, 4)
    assert first.method == second.method
    assert first.records[0] == {"step": 1, "loss": 2.0, "lr": 0.1}
    assert len(first.evaluation.ids) == 8


@pytest.mark.parametrize("place", ["a/best", "a/evaluation/best-val", "elsewhere"])
def test_an_evaluation_of_a_runs_weights_belongs_to_the_run(compared_run, tmp_path, place):
    run = compared_run("a", seed=3)
    if place != "a/best":
        compared_run(place, seed=3, run=False, weights=str(run / "best"))
    found = read_runs([tmp_path / place, run])[0]
    assert found.run.path.resolve() == run
    assert found.recipe.seed == 3


def test_an_evaluation_of_other_weights_has_no_run(compared_run):
    first = read_runs([compared_run("a", run=False, weights="org/name"), compared_run("b")])[0]
    assert (first.run, first.recipe, first.method, first.records) == (None, None, None, [])


@pytest.mark.parametrize(
    "override",
    ["seed=9", "name=other", "data.workers=1", "log.every=7", "checkpoint.every=9", "data.root=/other/place"],
)
def test_what_does_not_make_another_method(compared_run, override):
    first, second = read_runs([compared_run("a"), compared_run("b", override)])
    assert first.method == second.method


@pytest.mark.parametrize("override", ["optimiser.lr=0.5", "evaluate.every=1", "data.val.length=3"])
def test_what_makes_another_method(compared_run, override):
    first, second = read_runs([compared_run("a"), compared_run("b", override)])
    assert first.method != second.method


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"split": "test"}, "split 'test' instead of 'val'"),
        ({"classes": ("ground", "red", "blue")}, "class 2 is 'blue' instead of 'green'"),
        ({"pictures": 5}, r"other pictures \(5, the first 8\); it lacks '5.png'"),
        ({"pictures": 9}, r"other pictures \(9, the first 8\); it has '8.png'"),
        ({"names": "x{}.png"}, "it lacks '0.png'"),
    ],
)
def test_runs_that_were_measured_on_something_else_are_refused(compared_run, other, message):
    with pytest.raises(TrainError, match=rf"b cannot be compared with .*a: .*{message}"):
        read_runs([compared_run("a"), compared_run("b", **other)])


def test_pictures_in_another_order_are_refused(compared_run):
    folders = compared_run("a"), compared_run("b")
    path = folders[1] / "best" / "pictures.jsonl"
    text = path.read_text()
    path.write_text(text.replace("0.png", "x").replace("1.png", "0.png").replace('"x"', '"1.png"'))
    with pytest.raises(TrainError, match="its pictures are in another order"):
        read_runs(folders)


def test_pictures_with_other_labels_are_refused(compared_run):
    folders = compared_run("a"), compared_run("b", wrong=1)
    path = folders[1] / "best" / "pictures.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], lines[3].replace("400", "401"), *lines[4:]]))
    with pytest.raises(TrainError, match=r"the labels of '3\.png' are others"):
        read_runs(folders)


def test_one_run_is_no_comparison(compared_run):
    with pytest.raises(TrainError, match="needs two runs or more"):
        read_runs([compared_run("a")])


def test_a_folder_without_an_evaluation_is_named(compared_run, tmp_path):
    with pytest.raises(TrainError, match="nothing: holds no evaluation"):
        read_runs([compared_run("a"), tmp_path / "nothing"])
