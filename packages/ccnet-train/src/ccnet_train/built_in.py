"""The recipes that come with the package: YAML files, and those of the published models."""

from importlib import resources
from typing import Any

from ccnet_train.recipe_text import parse
from ccnet_train.zoo_recipes import list_zoo_recipes, zoo_recipe

_FILES = resources.files("ccnet_train").joinpath("recipes")
_ENDING = ".yaml"


def list_recipes() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    names = (file.name for file in _FILES.iterdir())
    return sorted([*(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)), *list_zoo_recipes()])


def read_recipe(name: str) -> Any:
    """Return the recipe `name`, one of :func:`list_recipes`, as plain data."""
    if name in list_zoo_recipes():
        return zoo_recipe(name)
    return parse(_FILES.joinpath(name + _ENDING).read_text("utf-8"), f"recipe {name}")
