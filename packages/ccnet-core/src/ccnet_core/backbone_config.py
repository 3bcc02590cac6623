"""The two kinds of backbone that a configuration can hold: a ResNet of this package, or one of transformers."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from ccnet_core.checks import LARGEST_COUNT, LARGEST_SIZE, is_text, is_whole, require, require_sizes
from ccnet_core.errors import nearest


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A ResNet of 1 to 4 stages, some of them dilated.

    `depths` are blocks per stage, `width` the channels inside a block of the first stage (doubled in each further
    one). `stem_channels` says what comes first: three numbers are three 3x3 convolutions (ResNet v1c, and the authors'
    64-64-128), one number is torchvision's 7x7 convolution. `contract_dilation` halves the dilation of the first block
    of a dilated stage. `ceil_mode` belongs to the max-pool after the stem.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    stem_channels: tuple[int, ...] = (32, 32, 64)
    strides: tuple[int, ...] = (1, 2, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    contract_dilation: bool = True
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        """Refuse stages that do not fit together."""
        stages = {len(self.depths), len(self.strides), len(self.dilations)}
        require(len(stages) == 1 and 0 not in stages, "depths, strides and dilations need one value per stage")
        require(len(self.depths) <= 4, f"a backbone has 1 to 4 stages, depths has {len(self.depths)}")
        require(self.block in ("basic", "bottleneck"), f"block must be 'basic' or 'bottleneck', got {self.block!r}")
        require(
            len(self.stem_channels) in (1, 3), f"stem_channels must be one or three numbers, got {self.stem_channels}"
        )
        require_sizes(width=(self.width,), stem_channels=self.stem_channels)
        require_sizes(strides=self.strides, dilations=self.dilations)
        require_sizes(depths=self.depths, largest=LARGEST_COUNT)

    @property
    def maps(self) -> int:
        """The number of feature maps that the network gives: one for each stage."""
        return len(self.depths)


@dataclass(frozen=True, kw_only=True)
class Family:
    """What is particular to the backbones of one `model_type` of transformers.

    `per_stage` are the settings with an entry for each stage, `count` the one that counts stages. In a `pyramid` each
    stage has half the size of the one before. `stem` and `blocks` are the modules of the embedding and of the stages.
    """

    per_stage: tuple[str, ...] = ()
    count: str | None = None
    pyramid: bool
    stem: str = "embeddings"
    blocks: str


FAMILIES = {
    "convnext": Family(per_stage=("depths", "hidden_sizes"), count="num_stages", pyramid=True, blocks="encoder.stages"),
    "convnextv2": Family(
        per_stage=("depths", "hidden_sizes"), count="num_stages", pyramid=True, blocks="encoder.stages"
    ),
    "dinov2": Family(count="num_hidden_layers", pyramid=False, blocks="encoder.layer"),
    "swin": Family(
        per_stage=("depths", "num_heads"), pyramid=True, stem="swin.embeddings", blocks="swin.encoder.layers"
    ),
}
"""The backbones of transformers that can stand in for ResNet, by `model_type`. A layer of DINOv2 is a stage."""


@dataclass(frozen=True, kw_only=True)
class HubBackboneConfig:
    """A backbone of transformers, complete: a weights folder with it needs no other.

    `settings` are those of its configuration in transformers, `model_type` included. `stages` are the stages, counted
    from 1, whose feature maps are given; the last one is the backbone's last and feeds the head. `hub` and the commit
    `revision` say where its first weights came from and are never asked again.
    """

    settings: dict[str, Any]
    stages: tuple[int, ...]
    hub: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse another kind of backbone, and numbers that no network can be built from."""
        require(is_text(self.hub) or self.hub is None, f"hub must be text, got {self.hub!r}")
        require_family(self.settings.get("model_type"))
        fits = all(_is_bounded(value) for value in self.settings.values())
        require(fits, f"settings must be texts and numbers up to {LARGEST_SIZE}, got {self.settings}")
        for key in self.family.per_stage:
            listed = isinstance(self.settings.get(key), list | tuple)
            require(listed and len(self.settings[key]) == self.depth, f"settings.{key} needs one number per stage")
        require_sizes(depths=(self.depth, *self.settings.get("depths", ())), largest=LARGEST_COUNT)
        require(is_whole(self.settings.get("patch_size")), "settings.patch_size must be a whole number")
        require_sizes(patch_size=(self.settings["patch_size"],), largest=LARGEST_COUNT)
        require(self.settings.get("num_channels", 3) == 3, "settings.num_channels must be 3")
        require(not self.settings.get("use_absolute_embeddings"), "use_absolute_embeddings fixes the size of pictures")
        require(self.settings.get("reshape_hidden_states", True), "settings.reshape_hidden_states must be true")
        ascending = list(self.stages) == sorted(set(self.stages)) and len(self.stages) <= 2
        ends = bool(self.stages) and self.stages[0] >= 1 and self.stages[-1] == self.depth
        require(ascending and ends, f"stages must be one or two, the last of them {self.depth}; got {self.stages}")

    @property
    def family(self) -> Family:
        """What is particular to this kind of backbone."""
        return FAMILIES[self.settings["model_type"]]

    @property
    def depth(self) -> int:
        """The number of stages."""
        return depth(self.settings)

    @property
    def maps(self) -> int:
        """The number of feature maps that the network gives."""
        return len(self.stages)

    @property
    def stride(self) -> int:
        """How many pixels a cell of the last feature map stands for, along each axis."""
        patch: int = self.settings["patch_size"]
        return patch * 2 ** (self.depth - 1) if self.family.pyramid else patch


@dataclass(frozen=True, kw_only=True)
class BackboneSource:
    """Where a backbone of transformers is to come from: what `CCNet.from_config(backbone=...)` and recipes say.

    `hub` is "org/name" on the Hub or a folder, `revision` a branch, tag or commit. `out_stage` is the stage, counted
    from 1, whose feature map the head takes; the stages after it are left out. By default it is the last one. Without
    `pretrained` its weights are random, and only its configuration is read.
    """

    hub: str
    revision: str | None = None
    out_stage: int | None = None
    pretrained: bool = True

    def __post_init__(self) -> None:
        """Refuse what is no name and no stage."""
        require(is_text(self.hub) and self.hub, f"backbone.hub must be a folder or org/name, got {self.hub!r}")
        counted = self.out_stage is None or (is_whole(self.out_stage) and self.out_stage >= 1)
        require(counted, f"backbone.out_stage must be a whole number above 0, got {self.out_stage!r}")


def require_family(model_type: object) -> None:
    """Raise ConfigError, with the nearest names, unless `model_type` is one of `FAMILIES`."""
    known = isinstance(model_type, str) and model_type in FAMILIES
    require(known, f"model_type {model_type!r} is no backbone that is known here.{nearest(str(model_type), FAMILIES)}")


def depth(settings: dict[str, Any]) -> int:
    """Return the number of stages that `settings`, of a known family, describe."""
    family = FAMILIES[settings["model_type"]]
    if family.count is None:
        stages = settings.get(family.per_stage[0])
        return len(stages) if isinstance(stages, list | tuple) else 0
    count = settings.get(family.count)
    require(is_whole(count), f"settings.{family.count} must be a whole number, got {count!r}")
    return int(count or 0)


def cut(settings: dict[str, Any], stages: int) -> dict[str, Any]:
    """Return the settings of the backbone's first `stages` stages."""
    family = FAMILIES[settings["model_type"]]
    shorter = {key: list(settings[key][:stages]) for key in family.per_stage}
    return settings | shorter | ({family.count: stages} if family.count else {})


def _is_bounded(value: object) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= LARGEST_COUNT and all(map(_is_bounded, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value) and abs(value) <= LARGEST_SIZE
    return value is None or isinstance(value, bool) or is_text(value)
