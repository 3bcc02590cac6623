import re
import shutil

import pytest

from ccnet_train import TrainError
from ccnet_train.dry_run import describe, try_folder
from ccnet_train.loop import fit
from ccnet_train.run_folder import RunFolder


def test_a_dry_run_describes_the_run_and_leaves_nothing_behind(squares, tmp_path):
    before = sorted(tmp_path.iterdir())
    network, data, steps, memory = describe(squares(), processes=2).splitlines()
    assert network.startswith("network  ccnet_tiny, ")
    assert network.endswith(" parameters, 3 classes")
    assert data == "data     squares, 12 pictures to train on, 5 to evaluate"
    assert steps == f"steps    12 of 4 pictures (2 x 2), 4.0 epochs, to {tmp_path / 'run'}"
    assert re.fullmatch(
        r"memory   about \d+\.\d\d GiB per process \(weights \S+, optimiser \S+, average \S+, step \S+\), "
        r"for 2 x 32 x 32 pixels in float32",
        memory,
    )
    assert sorted(tmp_path.iterdir()) == before


def test_accumulation_and_frozen_parameters_are_told(squares):
    text = describe(squares("train.accumulation=2", "model.freeze=[backbone]"))
    assert "(1 x 2 x 2)" in text
    assert re.search(r"ccnet_tiny, [\d,]+ parameters, [\d,]+ of them trained, 3 classes", text)


@pytest.mark.parametrize(
    "override",
    [
        "data.root=missing",
        "loss.class_weights=[1]",
        "model.freeze=[nothing]",
        "model.weights=nowhere",
        "model.backbone_weights=nowhere.pth",
    ],
)
def test_what_a_run_refuses_a_dry_run_refuses(squares, override):
    with pytest.raises(TrainError):
        describe(squares("augment=null", override))


def test_a_step_that_cannot_be_shared_is_refused(squares):
    with pytest.raises(TrainError, match="cannot be shared by 3 processes"):
        describe(squares(), processes=3)


def test_another_recipe_in_the_output_folder_is_refused(squares):
    fit(squares("train.iterations=1"), quiet=True)
    with pytest.raises(TrainError, match="holds a run of another recipe: seed was"):
        describe(squares("train.iterations=1", "seed=9"))


def test_what_a_run_is_allowed_a_dry_run_is_allowed(squares, tmp_path):
    fit(squares("train.iterations=1"), quiet=True)
    for allowed in ({"fresh": True}, {"allow_change": True}):
        assert "network" in describe(squares("train.iterations=1", "seed=9"), **allowed)
    with pytest.raises(TrainError, match=r"lies in output=.*--fresh"):
        describe(squares(f"model.weights={tmp_path / 'run' / 'best'}"), fresh=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(TrainError, match="but no checkpoint"):
        describe(squares("train.iterations=1"))


def test_a_folder_that_cannot_be_written_is_refused(squares, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="cannot be written"):
        describe(squares(f"output={tmp_path / 'file' / 'run'}"))
    assert (tmp_path / "file").read_text() == ""


def test_trying_a_folder_removes_only_what_it_made(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    try_folder(RunFolder(tmp_path / "mine"))
    try_folder(RunFolder(tmp_path / "a" / "b" / "c"))
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [
        (tmp_path / "mine").relative_to(tmp_path),
        (tmp_path / "mine" / "notes.txt").relative_to(tmp_path),
    ]
