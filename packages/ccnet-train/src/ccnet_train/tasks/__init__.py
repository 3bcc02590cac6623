"""What a dataset is for, by the name that it gives itself: the only list of tasks.

A further task is a file here that holds a :class:`~ccnet_train.tasks.interface.Task`, and a line in `TASKS`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ccnet_train.tasks.instances import Instances
from ccnet_train.tasks.interface import Task
from ccnet_train.tasks.segmentation import Segmentation
from ccnet_train.tasks.video import Video

if TYPE_CHECKING:
    from ccnet_train.datasets import SampleDataset

TASKS: dict[str, Task[Any, Any]] = {"segmentation": Segmentation(), "video": Video(), "instances": Instances()}


def task_of(dataset: "SampleDataset") -> Task[Any, Any]:
    """Return what `dataset` is for; :func:`ccnet_train.datasets.load_split` has refused a task that is not here."""
    return TASKS[dataset.task]


def task_scored_in(record: Mapping[str, float]) -> Task[Any, Any] | None:
    """Return the task that a line of metrics.jsonl is an evaluation of, None for a line that is none.

    Pictures and clips have one score, and are one here: their networks are of one class.
    """
    return next((task for task in TASKS.values() if task.score in record), None)
