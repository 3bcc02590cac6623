import numpy as np
import pytest

from ccnet_train.datasets import load_split
from ccnet_train.tasks import TASKS, task_of, task_scored_in
from ccnet_train.tasks.interface import Task
from ccnet_train.tasks.segmentation import Segmentation
from ccnet_train.tasks.video import Video


def test_the_task_of_a_dataset_is_found_by_its_name(squares):
    pictures, clips = (load_split(squares(*more).data, "val") for more in ((), ("data.options.frames=2",)))
    assert isinstance(task_of(pictures), Segmentation)
    assert isinstance(task_of(clips), Video)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_do_all_that_is_asked_of_one(name):
    asked = [part for part in vars(Task) if not part.startswith("_")]
    assert {"build", "collate", "evaluate", "measure"} < set(asked)
    for part in asked:
        assert callable(getattr(TASKS[name], part)), part
    assert isinstance(TASKS[name].score, str)
    assert isinstance(TASKS[name].score_name, str)


def test_a_line_of_the_history_tells_the_task_that_it_is_an_evaluation_of():
    assert task_scored_in({"step": 1, "miou": 0.5}) is TASKS["segmentation"]
    assert task_scored_in({"step": 1, "loss": 0.5}) is None


def test_a_further_task_is_a_line_in_the_registry(squares, monkeypatch):
    class Negative(Segmentation):
        def picture(self, sample):
            return 255 - sample["image"]

    monkeypatch.setattr("fake_data.Squares.task", "negative", raising=False)
    monkeypatch.setitem(TASKS, "negative", Negative())
    dataset = load_split(squares().data, "val")
    np.testing.assert_array_equal(task_of(dataset).picture(dataset[0]), 255 - dataset[0]["image"])
