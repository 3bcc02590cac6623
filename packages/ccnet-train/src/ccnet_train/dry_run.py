"""What a recipe would run, checked without training."""

from ccnet_train.datasets import check_data, load_augmentation, load_split
from ccnet_train.positions import images_per_process
from ccnet_train.recipe import Recipe
from ccnet_train.run import build_network


def describe(recipe: Recipe, *, processes: int = 1) -> str:
    """Load data and network as a run would, write nothing, and return network, data and steps in three lines.

    Raises TrainError or CCNetError where a run would.
    """
    check_data(recipe.data)
    share = images_per_process(recipe.train.images_per_step, processes)
    load_augmentation(recipe.data, recipe.augment)
    train, val = load_split(recipe.data, "train"), load_split(recipe.data, "val")
    network = build_network(recipe, train)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    iterations, images = recipe.train.iterations, recipe.train.images_per_step
    epochs = iterations * images / len(train)
    return (
        f"network  {network.config.name}, {parameters:,} parameters, {len(train.classes)} classes\n"
        f"data     {recipe.data.name}, {len(train)} pictures to train on, {len(val)} to evaluate\n"
        f"steps    {iterations} of {images} pictures ({processes} x {share}), {epochs:.1f} epochs, to {recipe.output}"
    )
