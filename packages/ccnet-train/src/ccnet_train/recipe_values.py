"""What the numbers of a recipe must be, beyond their types."""

from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ccnet_train.errors import RecipeError

if TYPE_CHECKING:
    from ccnet_train.recipe import LossSection, ModelSection, Recipe, ScheduleSection

_SMALLEST = {
    "model.frames": 1,
    "data.workers": 0,
    "train.iterations": 1,
    "train.images_per_step": 1,
    "train.accumulation": 1,
    "train.nonfinite_limit": 1,
    "optimiser.lr": 0,
    "optimiser.momentum": 0,
    "optimiser.weight_decay": 0,
    "optimiser.head_lr_multiplier": 0,
    "schedule.power": 0,
    "schedule.min_lr": 0,
    "schedule.warmup_iterations": 0,
    "loss.auxiliary_weight": 0,
    "loss.edge_weight": 0,
    "loss.ohem.min_kept": 0,
    "loss.category_consistent.weight": 0,
    "loss.category_consistent.channels": 1,
    "loss.category_consistent.variance_margin": 0,
    "evaluate.every": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "log.every": 1,
}


def check_values(recipe: "Recipe", where: str) -> None:
    """Raise RecipeError, which names `where`, the key and what it must be, for the first value out of range."""
    for key, smallest in _SMALLEST.items():
        value = _value(recipe, key)
        if value is not None and value < smallest:
            raise RecipeError(f"{where}: {key} must be {smallest} or more, got {value}.")
    if not 0 <= recipe.seed < 2**32:
        raise RecipeError(f"{where}: seed must be from 0 to 2**32 - 1, got {recipe.seed}.")
    if recipe.schedule.min_lr > recipe.optimiser.lr:
        raise RecipeError(
            f"{where}: schedule.min_lr={recipe.schedule.min_lr} is above optimiser.lr={recipe.optimiser.lr}, so the "
            "learning rate would rise. Lower it."
        )
    _check_milestones(recipe.schedule, where)
    momentum, clip = recipe.optimiser.momentum, recipe.optimiser.clip_gradient_norm
    if momentum >= 1:
        raise RecipeError(f"{where}: optimiser.momentum must be below 1, got {momentum}.")
    if clip is not None and clip <= 0:
        raise RecipeError(f"{where}: optimiser.clip_gradient_norm must be above 0, got {clip}; null does not clip.")
    decay = recipe.train.weight_average
    if decay is not None and not 0 <= decay < 1:
        raise RecipeError(f"{where}: train.weight_average must be from 0 to below 1, got {decay}; null turns it off.")
    _check_loss(recipe.loss, where)
    _check_model(recipe.model, where)


def _value(recipe: "Recipe", key: str) -> Any:
    """Return what `recipe` holds at `key`, None where the section is left out."""
    section, _, last = key.rpartition(".")
    holder = attrgetter(section)(recipe)
    return None if holder is None else getattr(holder, last)


def _check_milestones(schedule: "ScheduleSection", where: str) -> None:
    milestones = schedule.milestones
    if not milestones:
        return
    if milestones[0] < 1 or any(later <= earlier for earlier, later in pairwise(milestones)):
        raise RecipeError(f"{where}: schedule.milestones must be 1 or more and rise, got {list(milestones)}.")
    if schedule.min_lr > 0:
        raise RecipeError(f"{where}: schedule.min_lr goes with polynomial decay, not with milestones. Leave one out.")


def _check_loss(loss: "LossSection", where: str) -> None:
    weights, ohem, consistent = loss.class_weights, loss.ohem, loss.category_consistent
    if isinstance(weights, tuple) and not (all(weight >= 0 for weight in weights) and any(weights)):
        raise RecipeError(f"{where}: loss.class_weights must be 0 or more and not all 0, got {list(weights)}.")
    if ohem is not None and ohem.threshold is None and ohem.rule == "authors":
        raise RecipeError(f"{where}: loss.ohem.threshold null goes with loss.ohem.rule mmseg; give a number.")
    if ohem is not None and ohem.threshold is not None and not 0 <= ohem.threshold <= 1:
        raise RecipeError(f"{where}: loss.ohem.threshold must be from 0 to 1, got {ohem.threshold}.")
    if consistent is not None and consistent.distance_margin < consistent.variance_margin:
        raise RecipeError(
            f"{where}: loss.category_consistent.distance_margin must be variance_margin "
            f"({consistent.variance_margin}) or more, got {consistent.distance_margin}."
        )
    if loss.per_picture and ohem is None and consistent is None:
        raise RecipeError(f"{where}: loss.per_picture is for loss.ohem and loss.category_consistent; set one of them.")


def _check_model(model: "ModelSection", where: str) -> None:
    if model.name is None and model.weights is None:
        raise RecipeError(f"{where}: give model.name (random weights) or model.weights (a weights folder).")
    for key in ("recurrence", "attention", "backbone_weights", "backbone"):
        if model.weights is not None and getattr(model, key) is not None:
            raise RecipeError(f"{where}: model.{key} goes with model.name; model.weights brings its own.")
