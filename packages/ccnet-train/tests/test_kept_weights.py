import errno
import os

import pytest

from ccnet_train import kept_weights


def weights(folder, content):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "README.md").write_text(f"card of {content}")


def content(folder):
    return (folder / "model.safetensors").read_text()


@pytest.fixture
def run(tmp_path):
    """A run's folder, and in it a checkpoint with both kinds of weights."""
    for name in kept_weights.NAMES:
        weights(tmp_path / "step" / name, name)
    return tmp_path


def test_the_weights_of_the_checkpoint_take_their_places(run):
    weights(run / "best", "older")
    kept_weights.settle(run / "step", run)
    assert [content(run / name) for name in kept_weights.NAMES] == ["last", "best"]
    assert sorted(path.name for path in run.iterdir()) == ["best", "last", "step"]


def test_weights_that_the_checkpoint_has_not_got_are_removed(run):
    weights(run / "new", "x")
    weights(run / "best", "newer than the checkpoint")
    kept_weights.settle(run / "new", run)
    assert not (run / "best").exists()


def test_weights_that_are_in_their_place_are_left_with_their_card(run):
    kept_weights.settle(run / "step", run)
    (run / "best" / "README.md").write_text("mine")
    kept_weights.settle(run / "step", run)
    assert (run / "best" / "README.md").read_text() == "mine"
    assert (run / "step" / "best" / "README.md").read_text() == "card of best"


def test_tensors_take_no_second_room(run):
    kept_weights.settle(run / "step", run)
    assert (run / "best" / "model.safetensors").samefile(run / "step" / "best" / "model.safetensors")


def test_where_there_are_no_links_the_files_are_copied(run, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    kept_weights.settle(run / "step", run)
    kept_weights.settle(run / "step", run)
    assert content(run / "best") == "best"


def test_a_checkpoint_carries_the_weights_of_the_one_before_unless_it_has_its_own(run):
    weights(run / "next" / "last", "newer")
    kept_weights.carry(run / "step", run / "next")
    assert (content(run / "next" / "last"), content(run / "next" / "best")) == ("newer", "best")


def test_large_results_are_one_file_with_two_names_and_the_card_is_two(tmp_path):
    weights(tmp_path / "last", "x")
    (tmp_path / "last" / "coco_masks.json").write_text("[]")
    kept_weights.copy(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "last" / "coco_masks.json").samefile(tmp_path / "best" / "coco_masks.json")
    assert not (tmp_path / "last" / "README.md").samefile(tmp_path / "best" / "README.md")
