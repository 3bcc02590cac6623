"""What a recipe would run, checked without training."""

from pathlib import Path

from ccnet_train.recipe import Recipe
from ccnet_train.run import load_parts
from ccnet_train.run_folder import RunFolder


def describe(recipe: Recipe, *, processes: int = 1) -> str:
    """Load data and network as a run would, write nothing, and return network, data and steps in three lines.

    Raises TrainError or CCNetError where a run would.
    """
    RunFolder(Path(recipe.output).expanduser()).refuse_other_recipe(recipe)
    parts = load_parts(recipe, processes)
    parameters = sum(parameter.numel() for parameter in parts.network.parameters())
    iterations, images = recipe.train.iterations, recipe.train.images_per_step
    epochs = iterations * images / len(parts.train)
    return (
        f"network  {parts.network.config.name}, {parameters:,} parameters, {len(parts.train.classes)} classes\n"
        f"data     {recipe.data.name}, {len(parts.train)} pictures to train on, {len(parts.val)} to evaluate\n"
        f"steps    {iterations} of {images} pictures ({processes} x {parts.share}), {epochs:.1f} epochs, "
        f"to {recipe.output}"
    )
