"""What an evaluation measures: weights, pictures and the way of predicting."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

import ccnet_core as ccnet
from ccnet_core import strict
from ccnet_core.config import TTA_SCALES, Colour, InferencePlan
from ccnet_core.errors import ConfigError
from ccnet_train.datasets import SampleDataset, split_options
from ccnet_train.errors import TrainError
from ccnet_train.recipe import EvaluateSection, Recipe

if TYPE_CHECKING:
    from ccnet_train.tasks.interface import Network

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`weights`, with the SHA-256 `digest` of their tensors, on `pictures` pictures of a split, by `plan`.

    `data` is the dataset's name, `options` what else chose its pictures; `precision` is accelerate's. `labels` is the
    form of the label files that are written, if any. `settings` are what a network without a plan has instead.
    """

    format_version: int = FORMAT_VERSION
    task: Literal["segmentation", "instances"] = "segmentation"
    weights: str
    digest: str
    model: str
    data: str
    options: dict[str, Any]
    split: str
    pictures: int
    plan: InferencePlan = field(default_factory=InferencePlan)
    settings: dict[str, Any] = field(default_factory=dict)
    precision: str
    labels: str | None = None
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]


def subject_of(
    recipe: Recipe, model: ccnet.CCNet, dataset: SampleDataset, *, weights: str, split: str, precision: str
) -> Subject:
    """Return what is measured when `model` predicts `dataset`, a split of the recipe's data."""
    plan = model.config.inference
    return dataclasses.replace(
        measured(recipe, model, dataset, weights=weights, split=split, precision=precision), plan=plan
    )


def measured(
    recipe: Recipe, model: "Network", dataset: SampleDataset, *, weights: str, split: str, precision: str
) -> Subject:
    """Return what is measured, but for how the network of a task predicts."""
    return Subject(
        weights=weights,
        digest=weights_digest(model),
        model=model.config.name,
        data=recipe.data.name,
        options={key: value for key, value in split_options(recipe.data, split).items() if key != "root"},
        split=split,
        pictures=len(dataset),
        precision=precision,
        classes=tuple(dataset.classes),
        palette=tuple(dataset.palette),
    )


def differences(old: Subject, new: Subject) -> list[str]:
    """Return "key was X, is Y" for what differs, but for where the weights lie."""
    before, now = strict.to_mapping(old), strict.to_mapping(new)
    changed = [key for key in now if key != "weights" and before[key] != now[key]]
    return [f"{key} was {_short(before[key])}, is {_short(now[key])}" for key in changed]


def weights_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256, in hexadecimal, of the names and bytes of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def plan_by(section: EvaluateSection, model: ccnet.CCNet, *, tta: bool = False) -> None:
    """Let `model` predict as the recipe's `section` says, which builds on the model's published plan.

    `tta` adds the six published scales and mirror images. Raises TrainError for a plan that cannot be carried out.
    """
    try:
        plan = model.config.inference.with_options(
            mode=section.mode,
            crop=section.crop,
            stride=section.stride,
            scales=TTA_SCALES if tta else section.scales,
            flip=tta or section.flip,
            resize=section.resize,
        )
    except ConfigError as error:
        raise TrainError(f"evaluate: {error}") from error
    model.config = dataclasses.replace(model.config, inference=plan)


def refuse_other_classes(model: "Network", dataset: SampleDataset, *, weights: str, data: str) -> None:
    """Raise TrainError if `model` has other class names than the dataset `data`."""
    different = class_differences(model.config.classes, dataset.classes)
    if different:
        raise TrainError(
            f"{weights} has other classes than the dataset {data!r}: {different}. "
            "Give weights that were trained on this dataset."
        )


def class_differences(weights: Sequence[str], dataset: Sequence[str]) -> str:
    """Return in words how the class names of weights and of a dataset differ, "" if they are equal."""
    if len(weights) != len(dataset):
        return f"{len(weights)} classes instead of {len(dataset)}"
    pairs = enumerate(zip(weights, dataset, strict=True))
    different = [f"class {index} is {has!r} instead of {needs!r}" for index, (has, needs) in pairs if has != needs]
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
