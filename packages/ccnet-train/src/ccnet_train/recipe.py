"""What a run is made of: typed sections, read from strict YAML.

A recipe is a built-in name or a YAML file. Anything may be overridden by `key=value`, with dots for nested keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import yaml

from ccnet_core import strict
from ccnet_core.backbone_config import BackboneSource
from ccnet_core.config import Mode
from ccnet_core.errors import nearest
from ccnet_train.built_in import list_recipes as list_recipes
from ccnet_train.built_in import read_recipe
from ccnet_train.errors import RecipeError
from ccnet_train.recipe_text import override, parse
from ccnet_train.recipe_values import check_values

RECIPE_VERSION = 1
"""The `recipe_version` this trainer reads."""


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The network: `name` with random weights, or `weights`, a folder, Hub id or zoo name with its own architecture.

    Where both are given `weights` counts, and :func:`ccnet_train.load_recipe` clears `name`. `recurrence`, `attention`
    and `backbone_weights`, a file with an ImageNet backbone, go with `name`, as does `backbone`, one of transformers
    from the Hub or a folder. `frames` makes a network for clips of so many frames, 1 for pictures; weights for the one
    kind begin the other. `freeze` lists modules, such as "backbone.layer1", whose parameters and running statistics
    stay as they are. `activation_checkpointing` saves memory for about a third more work.
    """

    name: str | None = None
    weights: str | None = None
    recurrence: int | None = None
    attention: Literal["criss_cross", "non_local"] | None = None
    frames: int | None = None
    backbone_weights: str | None = None
    backbone: BackboneSource | None = None
    freeze: tuple[str, ...] = ()
    activation_checkpointing: bool = False


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
    """How long to train, and with how many pictures per step over all processes and `accumulation` parts together.

    `sync_batch_norm` counts where several processes train on GPUs; `freeze_batch_norm` keeps the running statistics of
    the whole network. `weight_average` is the decay of an exponential moving average, with which the run is evaluated
    and saved. A loss that is not finite stops the run, or skips the step, `nonfinite_limit` times in a row at most.
    """

    iterations: int
    images_per_step: int
    accumulation: int = 1
    channels_last: bool = False
    compile: bool = False
    sync_batch_norm: bool = True
    freeze_batch_norm: bool = False
    weight_average: float | None = None
    nonfinite: Literal["stop", "skip"] = "stop"
    nonfinite_limit: int = 10


@dataclass(frozen=True, kw_only=True)
class OptimiserSection:
    """The optimiser; `momentum` is read by SGD only.

    `head_lr_multiplier` is for everything but the backbone. `clip_gradient_norm` is the largest norm of all gradients.
    """

    name: Literal["sgd", "adamw"]
    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    head_lr_multiplier: float = 1.0
    decay_norm_and_bias: bool = True
    clip_gradient_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleSection:
    """Polynomial decay to `min_lr` over the whole run, after a linear rise over `warmup_iterations`.

    With `milestones`, which are iterations, the learning rate falls to a tenth at each of them instead.
    """

    power: float = 0.9
    min_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    warmup_iterations: int = 0


@dataclass(frozen=True, kw_only=True)
class OhemSection:
    """Only the hard pixels of the main head are learned from; see :class:`ccnet_core.OhemCrossEntropy`."""

    threshold: float | None = 0.7
    min_kept: int = 100_000
    rule: Literal["mmseg", "authors"] = "mmseg"


@dataclass(frozen=True, kw_only=True)
class CategoryConsistentSection:
    """`weight` times the category consistent loss, on `channels` channels reduced from the attended features.

    The margins are those of :class:`ccnet_core.CategoryConsistentLoss`.
    """

    weight: float = 1.0
    channels: int = 16
    variance_margin: float = 0.5
    distance_margin: float = 1.5


@dataclass(frozen=True, kw_only=True)
class LossSection:
    """Cross-entropy of the main head plus `auxiliary_weight` times that of the auxiliary head.

    A network for parsing, such as `ccnet_small_ce2p`, has a first prediction in place of the auxiliary head, and needs
    `edge_weight` for its edges; see :class:`ccnet_core.EdgeCrossEntropy`. For other networks that is None.

    `average` "counted" divides by the pixels with a class, "all" by every pixel, as mmsegmentation does. `per_picture`
    computes OHEM and the category consistent loss for each picture, so that they do not depend on how the pictures of a
    step are shared.
    """

    class_weights: tuple[float, ...] | Literal["inverse_sqrt_frequency"] | None = None
    auxiliary_weight: float = 0.4
    edge_weight: float | None = None
    average: Literal["counted", "all"] = "counted"
    ohem: OhemSection | None = None
    category_consistent: CategoryConsistentSection | None = None
    per_picture: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateSection:
    """Evaluate after every `every` iterations, and at the end.

    The others say how to predict, as in :func:`ccnet_core.predict`: `mode`, `crop` and `stride` (height, width) default
    to the model's plan, the rest to one view at the picture's own size. `resize` "plan" fits a picture to the model's
    base scale, as published evaluation does. The weights folders of a run say the same.
    """

    every: int
    mode: Mode | None = None
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    resize: Literal["plan"] | None = None


@dataclass(frozen=True, kw_only=True)
class CheckpointSection:
    """Write resumable state after every `every` iterations, and at the end; keep the newest `keep`."""

    every: int
    keep: int = 2


@dataclass(frozen=True, kw_only=True)
class LogSection:
    """Log the loss after every `every` iterations, and at the end.

    `trackers` are programs that draw curves, by the names that accelerate has for them.
    """

    every: int = 10
    trackers: tuple[str, ...] = ("tensorboard",)


@dataclass(frozen=True, kw_only=True)
class CardSection:
    """What the model card of best/ and last/ says.

    `datasets` are the names of the training data, the data of the metrics first; by default `data.name` where it is a
    published dataset, else the recipe's name. `license` is that of the weights, by its identifier on the Hub. `picture`
    shows the prediction of a validation picture, which `--push` then publishes.
    """

    datasets: tuple[str, ...] = ()
    license: str | None = None
    picture: bool = True


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
    card: CardSection = field(default_factory=CardSection)


class RecipeRow(NamedTuple):
    """What a list of recipes says of one; `dataset` is a name of the data package."""

    name: str
    dataset: str
    iterations: int
    images_per_step: int


def recipe_rows() -> list[RecipeRow]:
    """Return a row for each built-in recipe."""
    recipes = map(load_recipe, list_recipes())
    return [RecipeRow(r.name, r.data.name, r.train.iterations, r.train.images_per_step) for r in recipes]


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a built-in recipe or a YAML file and apply `overrides` such as "train.iterations=10".

    A value is read as YAML, that of a key which holds text as it stands. Raises RecipeError for an unknown name or key
    (with the nearest), a file that cannot be read, a value of the wrong type or out of range, and a `recipe_version`
    other than :data:`ccnet_train.recipe.RECIPE_VERSION`.
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
    check_values(recipe, where)
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
        where, mapping = f"recipe {name_or_path}", read_recipe(name_or_path)
    elif path.is_file():
        where = str(path)
        mapping = parse(_text_of(path), where)
    else:
        raise RecipeError(f"No recipe and no YAML file is called {name_or_path!r}.{nearest(name_or_path, built_in)}")
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
