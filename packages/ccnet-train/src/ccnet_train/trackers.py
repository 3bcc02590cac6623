"""Trackers, such as TensorBoard: programs that draw the curves of a run."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ccnet_core import strict
from ccnet_core.errors import nearest
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator, known_trackers, own_errors
from ccnet_train.recipe import Recipe
from ccnet_train.recipe_text import flat

PIP_NAMES = {"comet_ml": "comet-ml"}
"""What to install for a tracker, where that has another name."""

PICTURES: dict[str, dict[str, Any]] = {"tensorboard": {"dataformats": "NHWC"}, "wandb": {}, "swanlab": {}}
"""The trackers that take pictures as (N, H, W, 3), and what accelerate passes on to them."""

LONGEST_EDGE = 1600
"""Of a picture for a tracker, in pixels: it keeps one for each evaluation."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise TrainError for a tracker that accelerate does not know, with the nearest, and for one not installed."""
    known = known_trackers()
    for name in names:
        if name not in known:
            raise TrainError(f"log.trackers: accelerate knows no tracker {name!r}.{nearest(name, known)}")
        if not known[name]:
            package = PIP_NAMES.get(name, name)
            raise TrainError(f"log.trackers: {name} is not installed. Run: python -m pip install {package}")


def start_trackers(recipe: Recipe, accelerator: Accelerator, first_step: int) -> None:
    """Start the trackers of the main process, and give them the recipe. What TensorBoard has from `first_step` on goes.

    Raises TrainError if one does not start, for example because it wants an account.
    """
    options = {"tensorboard": {"purge_step": first_step}}
    with own_errors(accelerator):
        try:
            accelerator.init_trackers(_project(recipe.name), config=scalars(recipe), init_kwargs=options)
        except Exception as error:  # a tracker is foreign code, and tells its own errors
            for tracker in accelerator.trackers:
                with suppress(Exception):  # one that did not start cannot finish
                    tracker.finish()
            accelerator.trackers.clear()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TrainError(
                f"log.trackers={list(recipe.log.trackers)}: one did not start ({reason}). Set it up as its own pages "
                "say, or leave it out."
            ) from error


def scalars(recipe: Recipe) -> dict[str, bool | int | float | str]:
    """Return what of `recipe` a tracker takes as hyperparameters: its texts and numbers, by keys with dots."""
    values = flat(strict.to_mapping(recipe))
    return {key: value for key, value in values.items() if isinstance(value, bool | int | float | str)}


def log_picture(accelerator: Accelerator, name: str, picture: np.ndarray, step: int) -> None:
    """Give `picture`, (H, W, 3) uint8, to the trackers that take pictures; a large one without some of its pixels."""
    stride = -(-max(picture.shape[:2]) // LONGEST_EDGE)
    for tracker in accelerator.trackers:
        if tracker.name in PICTURES:
            tracker.log_images({name: picture[None, ::stride, ::stride]}, step=step, **PICTURES[tracker.name])


def _project(name: str) -> str:
    """Return the recipe's name as a tracker takes it; TensorBoard makes a folder of it."""
    return re.sub(r"[^\w-]+", "-", name)
