"""Train and evaluate CCNet. `fit(load_recipe("beacon"))` is a whole run."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ccnet_train.errors import RecipeError, TrainError
from ccnet_train.recipe import Recipe, list_recipes, load_recipe

if TYPE_CHECKING:
    from ccnet_train.loop import FitResult, fit

__version__ = version("ccnet-train")

__all__ = ["FitResult", "Recipe", "RecipeError", "TrainError", "__version__", "fit", "list_recipes", "load_recipe"]


def __getattr__(name: str) -> Any:
    # accelerate takes seconds to import, and reading recipes needs none of it.
    if name in ("FitResult", "fit"):
        from ccnet_train import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
