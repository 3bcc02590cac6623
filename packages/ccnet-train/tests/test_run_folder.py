import shutil
from pathlib import Path

import pytest

from ccnet_train import TrainError, run_folder
from ccnet_train.checkpoint import Checkpoint
from ccnet_train.recipe import to_yaml
from ccnet_train.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path, squares):
    """A run that was killed while it wrote a checkpoint."""
    folder = RunFolder(tmp_path / "run")
    for path in (
        folder.checkpoints / "step-000005",
        folder.checkpoints / ".step-000010",
        folder.best,
        folder.last,
        folder.events,
        folder.path / ".best-0123456789ab.tmp",
        folder.path / "notes",
    ):
        path.mkdir(parents=True)
    (folder.path / ".metrics.jsonl-0123456789ab.tmp.jsonl").write_text("half")
    folder.recipe.write_text(to_yaml(squares()))
    for file in (folder.metrics, folder.preview, folder.path / "mine.txt"):
        file.write_text("x")
    return folder


RESUMED = "step-000005"


def start(folder, recipe, *, fresh=False):
    path = folder.checkpoints / RESUMED
    folder.start(Checkpoint(5, path) if path.is_dir() and not fresh else None, fresh=fresh)
    folder.write_recipe(recipe)


def names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_a_start_removes_what_a_kill_left_and_keeps_the_rest(folder, squares):
    start(folder, squares())
    assert [path.name for path in folder.checkpoints.iterdir()] == [RESUMED]
    assert names(folder) == [
        "checkpoints", "metrics.jsonl", "mine.txt", "notes", "preview.png", "recipe.yaml", "tensorboard",
    ]  # fmt: skip


def test_a_start_sets_damaged_checkpoints_aside_which_the_next_one_removes(folder, squares):
    (folder.checkpoints / "step-000009").mkdir()
    start(folder, squares())
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [".step-000009", RESUMED]
    start(folder, squares())
    assert [path.name for path in folder.checkpoints.iterdir()] == [RESUMED]


def test_a_fresh_start_deletes_the_run_but_no_other_file(folder, squares):
    start(folder, squares(), fresh=True)
    assert names(folder) == ["mine.txt", "notes", "recipe.yaml"]


def test_the_resolved_recipe_is_written(tmp_path, squares):
    folder = RunFolder(tmp_path / "new")
    start(folder, squares("train.iterations=77"))
    assert "iterations: 77" in folder.recipe.read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.iterations=13", "train.iterations was 12, is 13"),
        ("seed=4", "seed was 3, is 4"),
        ("augment=null", "augment.flip was 0.5, is not set"),
        ("data.train.length=3", "data.train.length was not set, is 3"),
        ("optimiser.lr=2e-3", "optimiser.lr was 0.001, is 0.002"),
    ],
)
def test_another_recipe_is_refused_with_the_differing_keys(folder, squares, override, message):
    with pytest.raises(TrainError, match=f"run of another recipe: {message}.*--allow-change.*--fresh"):
        folder.refuse_other_recipe(squares(override))
    assert folder.changes(squares(override)) == [message]


@pytest.mark.parametrize(
    "override",
    [
        "name=x",
        "output=y",
        "model.activation_checkpointing=true",
        "data.root=z",
        "data.workers=2",
        "train.nonfinite=skip",
        "train.nonfinite_limit=3",
        "evaluate.every=3",
        "checkpoint.keep=9",
        "log.every=2",
    ],
)
def test_keys_that_do_not_change_the_result_may_differ(folder, squares, override):
    folder.refuse_other_recipe(squares(override))


def test_a_run_without_a_checkpoint_may_start_with_another_recipe(folder, squares):
    (folder.checkpoints / "step-000005").rmdir()
    folder.refuse_other_recipe(squares("seed=4"))


@pytest.mark.parametrize("content", [b"[", b"\xff", b"3"])
def test_a_damaged_recipe_file_is_named(folder, squares, content):
    folder.recipe.write_bytes(content)
    with pytest.raises(TrainError, match=r"recipe\.yaml is damaged"):
        folder.refuse_other_recipe(squares())


def test_a_missing_recipe_file_is_named_in_one_line(folder, squares):
    folder.recipe.unlink()
    with pytest.raises(TrainError, match=r"recipe\.yaml is missing, although checkpoints .*--fresh") as raised:
        folder.refuse_other_recipe(squares())
    assert "was None" not in str(raised.value)


@pytest.mark.parametrize("name", ["best", "last"])
def test_weights_without_a_checkpoint_are_not_put_at_risk(folder, name):
    folder.refuse_lost_state()
    for path in (folder.checkpoints / RESUMED, *({folder.best, folder.last} - {folder.path / name})):
        path.rmdir()
    with pytest.raises(TrainError, match=f"{name} is there, but no checkpoint in .*checkpoints.*--fresh"):
        folder.refuse_lost_state()


def test_a_fresh_start_that_cannot_delete_says_so_and_leaves_no_checkpoint_without_its_recipe(
    folder, squares, monkeypatch
):
    rmtree = shutil.rmtree

    def refuse(path, **options):
        if path == folder.best:
            raise PermissionError(path)
        rmtree(path, **options)

    monkeypatch.setattr(run_folder.shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        start(folder, squares(), fresh=True)
    assert folder.recipe.exists()
    assert not folder.checkpoints.exists()


@pytest.mark.parametrize("place", ["best", "checkpoints/step-000005"])
def test_weights_that_fresh_would_delete_are_refused(folder, squares, place):
    with pytest.raises(TrainError, match=r"model.weights=.* lies in output=.*--fresh"):
        folder.refuse_own_weights(squares(f"model.weights={folder.path / place}"))
    folder.refuse_own_weights(squares(f"model.weights={folder.path / 'notes'}"))
    folder.refuse_own_weights(squares())


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    blocked = RunFolder(tmp_path / "blocked")
    blocked.path.mkdir()
    blocked.checkpoints.write_text("")
    for folder in (
        RunFolder(tmp_path / "file"),
        RunFolder(tmp_path / "file" / "sub"),
        RunFolder(Path("/proc/nope")),
        blocked,
    ):
        with pytest.raises(TrainError, match=r"output=.*: cannot be written .*Give another output=DIR\."):
            folder.refuse_unwritable()


def test_trying_a_folder_leaves_nothing_in_it(tmp_path):
    RunFolder(tmp_path / "new").refuse_unwritable()
    assert [path.name for path in (tmp_path / "new").rglob("*")] == ["checkpoints"]


@pytest.mark.parametrize("place", ["/", "~", "."])
def test_a_folder_of_everything_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainError, match="a run needs a folder of its own"):
        RunFolder(Path(place).expanduser()).refuse_unwritable()
    assert list(tmp_path.iterdir()) == []
