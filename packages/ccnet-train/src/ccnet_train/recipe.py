"""What a run is made of: typed sections, read from strict YAML.

A recipe is a built-in name or a YAML file. Anything may be overridden by `key=value`, with dots for nested keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, is_dataclass, replace
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, get_type_hints

import yaml

from ccnet_core import strict
from ccnet_core.errors import nearest
from ccnet_train.errors import RecipeError
from ccnet_train.recipe_text import override, parse

RECIPE_VERSION = 1
"""The `recipe_version` this trainer reads."""


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The network: `name` with random weights, or `weights`, a folder or Hub id, which brings its own architecture.

    Where both are given `weights` counts, and :func:`load_recipe` clears `name`.
    """

    name: str | None = None
    weights: str | None = None
    recurrence: int | None = None


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """The dataset `name` and what its provider takes.

    `root` is the dataset's folder. `options` go to both splits, `train` and `val` to one of them. `workers` are
    loading processes per training process; 0 loads in the training process.
    """

    name: str
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    val: dict[str, Any] = field(default_factory=dict)
    workers: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainSection:
    """How long to train, and with how many pictures per step over all processes together."""

    iterations: int
    images_per_step: int


@dataclass(frozen=True, kw_only=True)
class OptimiserSection:
    """The optimiser; `momentum` is read by SGD only."""

    name: Literal["sgd", "adamw"]
    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ScheduleSection:
    """Polynomial decay to `min_lr` over the whole run, after a linear rise over `warmup_iterations`."""

    power: float = 0.9
    min_lr: float = 0.0
    warmup_iterations: int = 0


@dataclass(frozen=True, kw_only=True)
class LossSection:
    """Cross-entropy of the main head plus `auxiliary_weight` times that of the auxiliary head.

    `average` "counted" divides by the pixels with a class, "all" by every pixel, as mmsegmentation does.
    """

    class_weights: tuple[float, ...] | Literal["inverse_sqrt_frequency"] | None = None
    auxiliary_weight: float = 0.4
    average: Literal["counted", "all"] = "counted"


@dataclass(frozen=True, kw_only=True)
class EvaluateSection:
    """Evaluate after every `every` iterations, and at the end."""

    every: int


@dataclass(frozen=True, kw_only=True)
class CheckpointSection:
    """Write resumable state after every `every` iterations, and at the end; keep the newest `keep`."""

    every: int
    keep: int = 2


@dataclass(frozen=True, kw_only=True)
class LogSection:
    """Log the loss after every `every` iterations, and at the end."""

    every: int = 10


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run. `output` is its folder; `augment` is handed to the dataset's provider as it is."""

    recipe_version: int
    name: str
    output: str
    seed: int = 0
    model: ModelSection
    data: DataSection
    augment: dict[str, Any] | None = None
    train: TrainSection
    optimiser: OptimiserSection
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    loss: LossSection = field(default_factory=LossSection)
    evaluate: EvaluateSection
    checkpoint: CheckpointSection
    log: LogSection = field(default_factory=LogSection)


def list_recipes() -> list[str]:
    """Return the names of the built-in recipes."""
    files = resources.files("ccnet_train").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a built-in recipe or a YAML file and apply `overrides` such as "train.iterations=10".

    A value is read as YAML, that of a key which holds text as it stands. Raises RecipeError for an unknown name or key
    (with the nearest), a file that cannot be read, a value of the wrong type or out of range, and a `recipe_version`
    other than :data:`RECIPE_VERSION`.
    """
    where, mapping = _read(str(name_or_path))
    for text in overrides:
        override(mapping, text, _text_keys(Recipe))
    version = mapping.get("recipe_version")
    if version != RECIPE_VERSION:
        raise RecipeError(
            f"{where}: recipe_version is {version!r}; this ccnet-train reads {RECIPE_VERSION}. "
            f"Write `recipe_version: {RECIPE_VERSION}` and check the keys, or install the ccnet-train it was made for."
        )
    recipe = strict.from_mapping(Recipe, mapping, where=where, error=RecipeError)
    _check_values(recipe, where)
    if recipe.model.weights is not None:
        # So that `model.weights=X` suffices on the command line of a recipe that names a model.
        recipe = replace(recipe, model=replace(recipe.model, name=None))
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """Return `recipe` as YAML that :func:`load_recipe` reads back to an equal object."""
    return yaml.safe_dump(strict.to_mapping(recipe), sort_keys=False)


def _read(name_or_path: str) -> tuple[str, dict[str, Any]]:
    built_in = list_recipes()
    path = Path(name_or_path).expanduser()
    if name_or_path in built_in:
        where = f"recipe {name_or_path}"
        text = resources.files("ccnet_train").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
    elif path.is_file():
        where, text = str(path), _text_of(path)
    else:
        raise RecipeError(f"No recipe and no YAML file is called {name_or_path!r}.{nearest(name_or_path, built_in)}")
    mapping = parse(text, where)
    if not isinstance(mapping, dict):
        raise RecipeError(f"{where}: a recipe holds keys and values, got {mapping!r}.")
    return where, mapping


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as text ({error}). Give a YAML file or a built-in name.") from error


def _text_keys(section: type, prefix: str = "") -> set[str]:
    """Return the keys of `section`, with their dots, that hold text and nothing else."""
    keys = set()
    for name, hint in get_type_hints(section).items():
        if is_dataclass(hint):
            keys |= _text_keys(hint, f"{prefix}{name}.")  # type: ignore[arg-type]
        elif hint in (str, str | None):
            keys.add(f"{prefix}{name}")
    return keys


_SMALLEST = {
    "data.workers": 0,
    "train.iterations": 1,
    "train.images_per_step": 1,
    "optimiser.lr": 0,
    "optimiser.momentum": 0,
    "optimiser.weight_decay": 0,
    "schedule.power": 0,
    "schedule.min_lr": 0,
    "schedule.warmup_iterations": 0,
    "loss.auxiliary_weight": 0,
    "evaluate.every": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "log.every": 1,
}


def _check_values(recipe: Recipe, where: str) -> None:
    for key, smallest in _SMALLEST.items():
        value = attrgetter(key)(recipe)
        if value < smallest:
            raise RecipeError(f"{where}: {key} must be {smallest} or more, got {value}.")
    if recipe.optimiser.momentum >= 1:
        raise RecipeError(f"{where}: optimiser.momentum must be below 1, got {recipe.optimiser.momentum}.")
    weights = recipe.loss.class_weights
    if isinstance(weights, tuple) and not (all(weight >= 0 for weight in weights) and any(weights)):
        raise RecipeError(f"{where}: loss.class_weights must be 0 or more and not all 0, got {list(weights)}.")
    if not 0 <= recipe.seed < 2**32:
        raise RecipeError(f"{where}: seed must be from 0 to 2**32 - 1, got {recipe.seed}.")
    if recipe.model.name is None and recipe.model.weights is None:
        raise RecipeError(f"{where}: give model.name (random weights) or model.weights (a weights folder).")
    if recipe.model.weights is not None and recipe.model.recurrence is not None:
        raise RecipeError(f"{where}: model.recurrence goes with model.name; model.weights brings its own.")
