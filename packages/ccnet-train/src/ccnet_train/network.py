"""The network of a run: where its weights come from, what of it trains, and how it computes."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import ccnet_core as ccnet
from ccnet_core.config import HeadConfig
from ccnet_core.errors import CCNetError, nearest
from ccnet_train.datasets import SampleDataset, swapped_classes
from ccnet_train.detection.config import list_detectors
from ccnet_train.errors import TrainError
from ccnet_train.randomness import Purpose, seed_torch
from ccnet_train.recipe import ModelSection, Recipe
from ccnet_train.subject import plan_by


def build_network(recipe: Recipe, dataset: SampleDataset) -> ccnet.CCNet:
    """Return the recipe's network for the classes of `dataset`, its new weights drawn from the recipe's seed.

    It has features for the category consistent loss when, and only when, the recipe has that loss: without it their
    convolution would get no gradient. Its inference plan is that of the recipe's section `evaluate`, its `flip_pairs`
    are those of training. Raises TrainError for weights that cannot be loaded, for a wrong `model.freeze`, for a
    plan that cannot be carried out, and for a loss of edges without edges or the reverse.
    """
    seed_torch(Purpose.WEIGHTS, recipe.seed)
    consistent = recipe.loss.category_consistent
    network = _load(recipe.model, dataset)
    frames = network.config.head.frames if recipe.model.frames is None else recipe.model.frames
    channels = None if consistent is None else consistent.channels
    network = _with_head(network, replace(network.config.head, frames=frames, consistency_channels=channels))
    network.config = _with_flip_pairs(network.config, swapped_classes(recipe.augment, dataset))
    plan_by(recipe.evaluate, network)
    _require_edges(recipe, network.config)
    freeze(network, recipe.model.freeze)
    try:
        network.checkpoint_activations(recipe.model.activation_checkpointing)
    except CCNetError as error:
        raise TrainError(f"model.activation_checkpointing: {error}") from error
    if recipe.train.channels_last:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):  # the convolutions of clips have no such form
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def freeze(network: nn.Module, names: tuple[str, ...]) -> None:
    """Let the parameters of the modules `names` stay as they are. Raises TrainError if nothing is left to train."""
    for module in _frozen(network, names):
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise TrainError(f"model.freeze={list(names)} leaves nothing to train. Freeze fewer modules.")


def train_mode(network: nn.Module, recipe: Recipe) -> None:
    """Put `network` into training mode, but for what the recipe freezes: those modules, or every batch norm."""
    network.train()
    for module in _frozen(network, recipe.model.freeze):
        module.eval()
    if recipe.train.freeze_batch_norm:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def training_form(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return what a step calls: `model`, as accelerate prepared it, or with `train.compile` a compiled form of it.

    The compiled form shares the parameters, and `model` stays as it is. So names in checkpoints and weights folders do
    not change, and evaluation, whose pictures differ in size, is never compiled anew.
    """
    return torch.compile(model) if recipe.train.compile else model  # type: ignore[return-value]


def _load(section: ModelSection, dataset: SampleDataset) -> ccnet.CCNet:
    classes, palette, file = dataset.classes, dataset.palette, section.backbone_weights
    if section.name in list_detectors():
        raise TrainError(
            f"model.name={section.name}: a Mask R-CNN finds objects, and the data give every pixel a class. Take a "
            "network that `ccnet models` lists, or data with objects."
        )
    try:
        if section.weights is not None:
            return ccnet.CCNet.from_pretrained(section.weights, classes=classes, palette=palette)
        return ccnet.CCNet.from_config(
            str(section.name),
            classes=classes,
            palette=palette,
            recurrence=section.recurrence,
            attention=section.attention,
            backbone_weights=None if file is None else Path(file).expanduser(),
            backbone=section.backbone,
        )
    except CCNetError as error:
        raise TrainError(f"model: {error}") from error


def _with_flip_pairs(config: ccnet.CCNetConfig, pairs: tuple[tuple[int, int], ...]) -> ccnet.CCNetConfig:
    try:
        return replace(config, flip_pairs=pairs)
    except CCNetError as error:
        raise TrainError(f"augment.flip_pairs: {error}") from error


def _require_edges(recipe: Recipe, config: ccnet.CCNetConfig) -> None:
    """Refuse a loss of edges for a network that has none, and edges that no loss trains."""
    weight = recipe.loss.edge_weight
    if weight is not None and config.parsing is None:
        raise TrainError(
            f"loss.edge_weight={weight}: the network {config.name} predicts no edges. Leave it out, or take a network "
            "for parsing, such as ccnet_small_ce2p."
        )
    if weight is None and config.parsing is not None:
        raise TrainError(
            f"loss.edge_weight: the network {config.name} predicts edges, which would not be trained. "
            "Set loss.edge_weight=1.0 and loss.auxiliary_weight=1.0, as CE2P does."
        )


def _with_head(network: ccnet.CCNet, head: HeadConfig) -> ccnet.CCNet:
    """Return `network` with another `head`: other frames, or other consistency features, which then are new.

    Attention over pictures and over clips has the same numbers in other shapes.
    """
    if head == network.config.head:
        return network
    changed = ccnet.CCNet(replace(network.config, head=head))
    fresh = head.consistency_channels != network.config.head.consistency_channels
    own = changed.state_dict()
    for name, value in network.state_dict().items():
        if not (fresh and name.startswith("head.consistency.")):
            own[name] = value.reshape(own[name].shape)
    changed.load_state_dict(own)
    return changed


def _frozen(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise TrainError(f"model.freeze: the network has no module {name!r}.{nearest(name, filter(None, modules))}")
    return [modules[name] for name in names]
