"""Backbones of the library transformers, in the place of ResNet. Needs the extra `transformers`.

Shape letters: B batch, C channels, H and W height and width of the picture.
"""

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core.backbone import Backbone
from ccnet_core.backbone_config import HubBackboneConfig
from ccnet_core.checks import require
from ccnet_core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class HubBackbone(Backbone):
    """A backbone of transformers: ConvNeXt, ConvNeXt V2, Swin or DINOv2; see :class:`HubBackboneConfig`.

    A picture whose size is no multiple of `stride` is enlarged to the next one, so that every feature map covers the
    whole picture: the backbones by themselves leave out what is over (ConvNeXt, DINOv2) or pad (Swin), and logits of a
    map that ends elsewhere than the picture would be up to a cell away from it. Raises ConfigError if the extra is not
    installed, or if no network can be built from the settings.
    """

    def __init__(self, config: HubBackboneConfig) -> None:
        super().__init__()
        require_transformers()
        from transformers import AutoBackbone

        self.config, self.stride = config, config.stride
        settings = library_config(config)
        try:
            network = AutoBackbone.from_config(settings)
        except Exception as error:  # transformers answers settings that do not fit with errors of every kind
            raise ConfigError(f"No backbone can be built from these settings: {error}.") from error
        self.adopt(network)
        self.channels = [int(count) for count in network.channels]

    def adopt(self, network: "PreTrainedModel") -> None:
        """Take `network`, a backbone of transformers with these settings."""
        if self.config.settings["model_type"] == "swin":
            network.swin.layernorm = nn.Identity()  # of the last stage once more, which no feature map goes through
        self.network = network
        self._index_positions()

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised -> the feature maps of `config.stages`; the last is H / stride, rounded up."""
        size = tuple(-(-edge // self.stride) * self.stride for edge in x.shape[2:])
        if tuple(x.shape[2:]) != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return list(self.network(x).feature_maps)

    def parts(self) -> list[nn.Module]:
        """Return the embedding, and each stage."""
        family = self.config.family
        return [self.network.get_submodule(family.stem), *self.network.get_submodule(family.blocks).children()]

    def freeze(self, *, stages: int | None, batch_norm: bool) -> None:
        """See :meth:`Backbone.freeze`. Raises ConfigError for `batch_norm`: there is none."""
        require(not batch_norm, "this backbone has no batch norm. Leave batch_norm out")
        super().freeze(stages=stages, batch_norm=False)

    def checkpoint_activations(self, enabled: bool) -> None:
        """Keep only the input of each block, as transformers does it. Raises ConfigError for ConvNeXt, which cannot."""
        kind = self.config.settings["model_type"]
        able = self.network.supports_gradient_checkpointing
        require(able or not enabled, f"transformers cannot compute activations of {kind} twice. Leave it out")
        if enabled:
            self.network.activation_checkpointing_enable()
        elif able:
            self.network.activation_checkpointing_disable()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._index_positions()
        return self

    def _index_positions(self) -> None:
        """Compute Swin's indices of positions, which no file holds; on the CPU where weights have no memory."""
        for module in self.modules():
            if hasattr(module, "relative_position_index"):
                bias = cast(Any, module)
                device = bias.relative_position_bias_table.device
                with torch.device("cpu"):
                    index = bias._create_relative_position_index().view(-1)
                bias.relative_position_index = index.to("cpu" if device.type == "meta" else device)


def require_transformers() -> None:
    """Raise ConfigError if the extra `transformers` is not installed."""
    if find_spec("transformers") is None:
        raise ConfigError(
            "This backbone needs a package that is not installed (transformers): "
            'python -m pip install "ccnet-core[transformers]"'
        )


def library_config(config: HubBackboneConfig) -> "PreTrainedConfig":
    """Return transformers' own configuration. Raises ConfigError for a setting that it does not know or cannot be."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = dict(config.settings)
    kind = CONFIG_MAPPING[settings.pop("model_type")]
    known = setting_names(kind)
    for name in settings:
        require(name in known, f"settings: unknown key {name!r}.{nearest(name, known)}")
    try:
        return kind(**settings, out_features=[f"stage{stage}" for stage in config.stages])
    except Exception as error:  # of every kind, as above
        raise ConfigError(f"No backbone can be built from these settings: {error}.") from error


def setting_names(kind: "type[PreTrainedConfig]") -> set[str]:
    """Return the names of what a configuration of transformers says about the network."""
    from transformers import PreTrainedConfig

    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = {field.name for field in dataclasses.fields(kind)} - common
    return {name for name in own if not name.startswith("_")}
