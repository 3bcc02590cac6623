"""What a dataset is for, by the name that it gives itself: the only list of tasks.

A further task is a file here that holds a :class:`~ccnet_train.tasks.interface.Task`, and a line in `TASKS`.
"""

from typing import TYPE_CHECKING

from ccnet_train.tasks.interface import Task
from ccnet_train.tasks.segmentation import Segmentation
from ccnet_train.tasks.video import Video

if TYPE_CHECKING:
    from ccnet_train.datasets import SampleDataset

TASKS: dict[str, Task] = {"segmentation": Segmentation(), "video": Video()}


def task_of(dataset: "SampleDataset") -> Task:
    """Return what `dataset` is for; :func:`ccnet_train.datasets.load_split` has refused a task that is not here."""
    return TASKS[dataset.task]
