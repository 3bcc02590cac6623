"""The recipes of the models that mmsegmentation published: one template, filled from core's zoo."""

import re
from importlib import resources
from typing import Any

from ccnet_core import zoo
from ccnet_train.recipe_text import parse

_TEMPLATE = resources.files("ccnet_train").joinpath("recipes", "template", "mmsegmentation.yaml")
_PER_STEP = re.compile(r"_(\d+)xb(\d+)-")
EVALUATIONS = 10


def list_zoo_recipes() -> list[str]:
    """Return the names of the models whose name says, as "4xb2", how many GPUs saw how many pictures each."""
    return [name for name in zoo.list_models() if _PER_STEP.search(name)]


def zoo_recipe(name: str) -> dict[str, Any]:
    """Return the recipe of the model `name`, one of :func:`list_zoo_recipes`, as plain data."""
    config, per_step = zoo.load_config(name), _PER_STEP.search(name)
    assert config.published is not None
    assert config.inference.base_scale is not None
    assert per_step is not None
    iterations, crop = config.published.iterations, config.published.crop
    recipe: dict[str, Any] = parse(_TEMPLATE.read_text("utf-8"), _TEMPLATE.name)
    recipe["model"]["name"] = name
    recipe["data"]["name"] = config.published.dataset
    recipe["augment"] |= {"base_scale": list(config.inference.base_scale), "crop": list(crop)}
    every = {"every": iterations // EVALUATIONS}
    return recipe | {
        "name": name,
        "output": f"runs/{name}",
        "train": {"iterations": iterations, "images_per_step": int(per_step[1]) * int(per_step[2])},
        "evaluate": {**every, "resize": "plan"},
        "checkpoint": every,
    }
