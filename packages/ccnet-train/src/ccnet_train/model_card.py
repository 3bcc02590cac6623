"""The model card of a run's weights: what the recipe says of it, and the picture it shows."""

from collections.abc import Mapping
from typing import Any

import torch

import ccnet_core as ccnet
from ccnet_core import zoo
from ccnet_train.datasets import SampleDataset
from ccnet_train.errors import TrainError
from ccnet_train.recipe import Recipe
from ccnet_train.tasks.interface import Task


def described(recipe: Recipe) -> dict[str, Any]:
    """Return `datasets` and `license` of the card."""
    # The name of a layout, such as "folder", would say nothing of the data.
    published = zoo.find_terms(recipe.data.name) is not None
    datasets = recipe.card.datasets or (recipe.data.name if published else recipe.name,)
    return {"datasets": datasets, "license": recipe.card.license}


def check_card(recipe: Recipe, config: Any, task: Task[Any, Any]) -> None:
    """Raise TrainError if the recipe's values cannot stand on a card: before the training, not after it."""
    try:
        task.card(config, **described(recipe))
    except ccnet.ConfigError as error:
        raise TrainError(f"card: {error}") from error


def card_values(recipe: Recipe, record: Mapping[str, float], dataset: SampleDataset | None) -> dict[str, Any]:
    """Return what `save_pretrained` and `push_to_hub` of a network take for the card.

    `record` is an evaluation of the history. The picture is the one in the middle of `dataset`, the validation split,
    which only a recipe with `card.picture` needs.
    """
    picture = torch.tensor(dataset[len(dataset) // 2]["image"]) if dataset and recipe.card.picture else None
    metrics = {name: value for name, value in record.items() if name != "step"}
    return {"metrics": metrics, "picture": picture, **described(recipe)}
