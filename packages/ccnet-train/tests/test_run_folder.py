import pytest

from ccnet_train import TrainError
from ccnet_train.recipe import to_yaml
from ccnet_train.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path, squares):
    """A run that was killed while it wrote best/ and a checkpoint."""
    folder = RunFolder(tmp_path / "run")
    for path in (
        folder.checkpoints / "step-000005",
        folder.checkpoints / ".step-000010",
        folder.best,
        folder.last,
        folder.events,
        folder.path / ".best-0123456789ab",
        folder.path / "notes",
    ):
        path.mkdir(parents=True)
    folder.recipe.write_text(to_yaml(squares()))
    for file in (folder.metrics, folder.preview, folder.path / "mine.txt"):
        file.write_text("x")
    return folder


def names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_a_start_removes_what_a_kill_left_and_keeps_the_rest(folder, squares):
    folder.start(squares(), fresh=False)
    assert ".best-0123456789ab" not in names(folder)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-000005"]
    assert {"best", "last", "metrics.jsonl", "notes", "mine.txt"} <= set(names(folder))


def test_a_fresh_start_deletes_the_run_but_no_other_file(folder, squares):
    folder.start(squares(), fresh=True)
    assert names(folder) == ["mine.txt", "notes", "recipe.yaml"]


def test_the_resolved_recipe_is_written(tmp_path, squares):
    folder = RunFolder(tmp_path / "new")
    folder.start(squares("train.iterations=77"), fresh=False)
    assert "iterations: 77" in folder.recipe.read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.iterations=13", "train.iterations was 12, is 13"),
        ("seed=4", "seed was 3, is 4"),
        ("augment=null", "augment.flip was 0.5, is None"),
        ("data.train.length=3", "data.train.length was None, is 3"),
        ("optimiser.lr=2e-3", "optimiser.lr was 0.001, is 0.002"),
    ],
)
def test_another_recipe_is_refused_with_the_differing_keys(folder, squares, override, message):
    with pytest.raises(TrainError, match=f"run of another recipe: {message}.*--fresh"):
        folder.refuse_other_recipe(squares(override))


@pytest.mark.parametrize(
    "override",
    ["name=x", "output=y", "data.root=z", "data.workers=2", "evaluate.every=3", "checkpoint.keep=9", "log.every=2"],
)
def test_keys_that_do_not_change_the_result_may_differ(folder, squares, override):
    folder.refuse_other_recipe(squares(override))


def test_a_run_without_a_checkpoint_may_start_with_another_recipe(folder, squares):
    (folder.checkpoints / "step-000005").rmdir()
    folder.refuse_other_recipe(squares("seed=4"))


def test_a_damaged_recipe_file_is_named(folder, squares):
    folder.recipe.write_text("[")
    with pytest.raises(TrainError, match=r"recipe\.yaml is damaged"):
        folder.refuse_other_recipe(squares())
