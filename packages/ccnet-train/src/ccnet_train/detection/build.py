"""The Mask R-CNN of a recipe, and what of a recipe such a network has not."""

from pathlib import Path

import ccnet_core as ccnet
from ccnet_core.errors import CCNetError
from ccnet_train.datasets import SampleDataset
from ccnet_train.detection import MaskRCNN, list_detectors
from ccnet_train.errors import TrainError
from ccnet_train.network import freeze
from ccnet_train.randomness import Purpose, seed_torch
from ccnet_train.recipe import EvaluateSection, LossSection, ModelSection, Recipe


def refuse_foreign_keys(recipe: Recipe) -> None:
    """Raise TrainError for keys of networks that give a class to every pixel."""
    model = recipe.model
    foreign = {
        "loss": recipe.loss != LossSection(),
        "evaluate": recipe.evaluate != EvaluateSection(every=recipe.evaluate.every),
        "model.frames": model.frames is not None,
        "model.backbone": model.backbone is not None,
        "model.activation_checkpointing": model.activation_checkpointing,
        "train.compile": recipe.train.compile,
        "train.channels_last": recipe.train.channels_last,
    }
    found = [key for key, asked in foreign.items() if asked]
    if found:
        raise TrainError(
            f"{found[0]}: is for networks that give a class to every pixel, and {recipe.data.name!r} holds objects. "
            "Leave it out."
        )


def build_detector(recipe: Recipe, dataset: SampleDataset) -> MaskRCNN:
    """Return the recipe's network for the classes of `dataset`, its new weights drawn from the recipe's seed.

    Raises TrainError for weights that cannot be loaded and for a wrong `model.freeze`.
    """
    seed_torch(Purpose.WEIGHTS, recipe.seed)
    network = _load(recipe.model, dataset)
    freeze(network, recipe.model.freeze)
    return network


def _load(section: ModelSection, dataset: SampleDataset) -> MaskRCNN:
    classes, palette, file = dataset.classes, dataset.palette, section.backbone_weights
    if section.name in ccnet.list_models():
        raise TrainError(
            f"model.name={section.name}: this network gives every pixel a class, and the data hold objects. Take "
            f"{' or '.join(list_detectors())}."
        )
    try:
        if section.weights is not None:
            return MaskRCNN.from_pretrained(section.weights, classes=classes, palette=palette)
        return MaskRCNN.from_config(
            str(section.name),
            classes=classes,
            palette=palette,
            recurrence=section.recurrence,
            attention=section.attention,
            backbone_weights=None if file is None else Path(file).expanduser(),
        )
    except CCNetError as error:
        raise TrainError(f"model: {error}") from error
