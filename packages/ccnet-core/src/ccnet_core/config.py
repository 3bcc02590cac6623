"""Everything that changes a model's answer, in frozen dataclasses that YAML and JSON can hold."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ccnet_core import strict
from ccnet_core.errors import ConfigError

Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class PixelStatistics:
    """What is subtracted from, and divides, a pixel (0-255), per channel in `channel_order`."""

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["rgb", "bgr"] = "rgb"


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A ResNet with a stem of three 3x3 convolutions (ResNet v1c) and 1 to 4 dilated stages.

    `depths` are blocks per stage, `width` the channels inside a block of the first stage (doubled in each further
    one). `contract_dilation` halves the dilation of the first block of a dilated stage. `ceil_mode` belongs to the
    max-pool after the stem.
    """

    block: Literal["basic", "bottleneck"] = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    stem_channels: tuple[int, int, int] = (32, 32, 64)
    strides: tuple[int, ...] = (1, 2, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    contract_dilation: bool = True
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        """Refuse stages that do not fit together."""
        if not len(self.depths) == len(self.strides) == len(self.dilations) > 0:
            raise ConfigError("backbone: depths, strides and dilations need one value per stage.")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The recurrent criss-cross attention head.

    `reduction` divides `channels` for query and key. `recurrence` 0 leaves attention out. `kernel_size` is that of
    the three convolutions around attention: 3 in every published model, 1 keeps the head from seeing neighbours.
    `gamma` is where the learned weight of attention starts: 0 in every published model.
    """

    channels: int = 512
    reduction: int = 8
    recurrence: int = 2
    kernel_size: int = 3
    dropout: float = 0.1
    gamma: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        if self.channels < self.reduction or self.channels % self.reduction:
            raise ConfigError(f"head: channels {self.channels} must be a multiple of reduction {self.reduction}.")
        if self.recurrence < 0:
            raise ConfigError(f"head: recurrence must be 0 or more, got {self.recurrence}.")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"head: kernel_size must be odd, got {self.kernel_size}.")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHeadConfig:
    """A fully convolutional head on an earlier stage (`stage` 0 is the first), used by the training loss."""

    stage: int = 2
    channels: int = 256
    dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class InferencePlan:
    """How a picture becomes labels; the same object in config.json, `predict`, command line and evaluation.

    `crop` and `stride` are (height, width) of the sliding window and its step, used in mode "slide". `scales` resize
    the picture, `flip` adds the mirror image of each; several views are averaged as class probabilities.
    `base_scale` is the published (long edge, short edge) to which `resize="plan"` fits a picture.
    """

    mode: Literal["whole", "slide"] = "whole"
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_scale: tuple[int, int] | None = None
    resize: Literal["plan"] | None = None

    def __post_init__(self) -> None:
        """Refuse plans that cannot be carried out."""
        if self.mode not in ("whole", "slide"):
            raise ConfigError(f"inference: mode must be 'whole' or 'slide', got {self.mode!r}.")
        if self.resize not in (None, "plan"):
            raise ConfigError(f"inference: resize must be None or 'plan', got {self.resize!r}.")
        if self.mode == "slide" and not (self.crop and self.stride):
            raise ConfigError("inference: mode 'slide' needs crop=(height, width) and stride=(height, width).")
        if self.crop and self.stride and not all(1 <= self.stride[axis] <= self.crop[axis] for axis in (0, 1)):
            raise ConfigError(f"inference: stride {self.stride} must be from 1 to crop {self.crop}.")
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"inference: scales must be positive, got {self.scales}.")
        if self.resize == "plan" and self.base_scale is None:
            raise ConfigError("inference: resize='plan' needs base_scale=(long edge, short edge) in the model's plan.")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published about a model: mIoU in percent, file, training data and schedule."""

    dataset: str
    crop: tuple[int, int]
    iterations: int
    miou: float
    miou_ms_flip: float | None
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class CCNetConfig:
    """A whole model. `classes` and `palette` (red, green, blue, 0-255) have one entry per class."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    auxiliary: AuxiliaryHeadConfig | None = None
    pixels: PixelStatistics = field(default_factory=PixelStatistics)
    align_corners: bool = False
    inference: InferencePlan = field(default_factory=InferencePlan)
    published: Published | None = None

    def __post_init__(self) -> None:
        """Refuse a palette or an auxiliary stage that does not fit."""
        if not self.classes:
            raise ConfigError(f"{self.name}: a model needs at least one class.")
        if len(self.palette) != len(self.classes):
            raise ConfigError(f"{self.name}: {len(self.classes)} classes but {len(self.palette)} palette colours.")
        if len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"{self.name}: two classes have the same name.")
        if any(not 0 <= value <= 255 for colour in self.palette for value in colour):
            raise ConfigError(f"{self.name}: palette values must be from 0 to 255.")
        if self.auxiliary is not None and not 0 <= self.auxiliary.stage < len(self.backbone.depths):
            raise ConfigError(f"{self.name}: auxiliary.stage {self.auxiliary.stage} is not a stage of the backbone.")

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def with_classes(
        self,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> "CCNetConfig":
        """Return this configuration for other classes.

        Names left out become "class 0", "class 1", ...; colours left out those of :func:`default_palette`.
        """
        if num_classes is None and classes is None:
            classes = self.classes
            palette = self.palette if palette is None else palette
        names = tuple(classes) if classes is not None else tuple(f"class {i}" for i in range(num_classes or 0))
        if num_classes is not None and len(names) != num_classes:
            raise ConfigError(f"num_classes is {num_classes} but classes has {len(names)} names.")
        if names == self.classes and palette is None:
            palette = self.palette
        colours = default_palette(len(names)) if palette is None else tuple((r, g, b) for r, g, b in palette)
        published = self.published if names == self.classes else None
        return dataclasses.replace(self, classes=names, palette=colours, published=published)

    def with_recurrence(self, recurrence: int) -> "CCNetConfig":
        """Return this configuration with `recurrence` attention steps."""
        return dataclasses.replace(self, head=dataclasses.replace(self.head, recurrence=recurrence))

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data for YAML or JSON."""
        return dict(strict.to_mapping(self))


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Return Pascal VOC's palette, as its development kit computes it: bits of the class spread over R, G and B."""
    return tuple(_voc_colour(label) for label in range(num_classes))


def _voc_colour(label: int) -> Colour:
    red = green = blue = 0
    for bit in range(8):
        red |= (label & 1) << (7 - bit)
        green |= (label >> 1 & 1) << (7 - bit)
        blue |= (label >> 2 & 1) << (7 - bit)
        label >>= 3
    return red, green, blue
