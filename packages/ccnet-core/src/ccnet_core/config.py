"""Everything that changes a model's answer, in frozen dataclasses that YAML and JSON can hold."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, get_args

from ccnet_core import strict
from ccnet_core.backbone_config import BackboneConfig as BackboneConfig
from ccnet_core.backbone_config import HubBackboneConfig as HubBackboneConfig
from ccnet_core.checks import (
    LARGEST_COUNT,
    LARGEST_SIZE,
    is_colour,
    is_pair,
    is_positive,
    is_text,
    is_whole,
    require,
    require_flip_pairs,
    require_sizes,
    require_slope,
)

Colour = tuple[int, int, int]

Mode = Literal["whole", "slide", "fit"]
"""How :class:`InferencePlan` cuts a picture."""


@dataclass(frozen=True, kw_only=True)
class PixelStatistics:
    """How bytes are normalised: (pixel - `mean`) / `std`, all from 0 to 255, per channel in `channel_order`.

    The defaults are ImageNet's. Raises ConfigError for numbers that are not finite and for a `std` of 0 or below.
    """

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        """Refuse statistics that give no finite number."""
        require(all(map(math.isfinite, self.mean)), f"mean must be three numbers, got {self.mean}")
        require(all(0 < value < math.inf for value in self.std), f"std must be above 0, got {self.std}")
        require(
            self.channel_order in ("rgb", "bgr"), f"channel_order must be 'rgb' or 'bgr', got {self.channel_order!r}"
        )


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The recurrent criss-cross attention head.

    `attention` is what stands between the convolutions: criss-cross attention, or the non-local block that the paper
    compares it with. It is applied `recurrence` times, 0 leaves it out, with one set of weights or, if not
    `shared_weights`, with one for each step. `reduction` divides `channels` for query and key. `kernel_size` is that
    of the three convolutions around attention: 3 in every published model, 1 keeps the head from seeing neighbours.
    `negative_slope` belongs to the activation after these: 0 is ReLU, the authors' network has leaky ReLU with 0.01.
    `gamma` is where the learned weight of attention starts: 0 in every published model. `consistency_channels` adds a
    1x1 convolution of the attended features for the category consistent loss (16 in the paper). `frames` above 1 makes
    a model of clips of up to so many frames: attention also goes along time.
    """

    attention: Literal["criss_cross", "non_local"] = "criss_cross"
    channels: int = 512
    reduction: int = 8
    recurrence: int = 2
    shared_weights: bool = True
    kernel_size: int = 3
    negative_slope: float = 0.0
    dropout: float = 0.1
    gamma: float = 0.0
    consistency_channels: int | None = None
    frames: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        kinds = ("criss_cross", "non_local")
        require(self.attention in kinds, f"attention must be 'criss_cross' or 'non_local', got {self.attention!r}")
        require_sizes(channels=(self.channels,), reduction=(self.reduction,))
        if self.consistency_channels is not None:
            require_sizes(consistency_channels=(self.consistency_channels,))
        fits = self.channels % self.reduction == 0
        require(fits, f"channels {self.channels} must be a multiple of reduction {self.reduction}")
        counted = is_whole(self.recurrence) and 0 <= self.recurrence <= LARGEST_COUNT
        require(counted, f"recurrence must be a whole number from 0 to {LARGEST_COUNT}, got {self.recurrence!r}")
        require_sizes(kernel_size=(self.kernel_size,), frames=(self.frames,), largest=LARGEST_COUNT)
        require(self.kernel_size % 2 == 1, f"kernel_size must be odd, got {self.kernel_size}")
        require_slope(self.negative_slope)
        require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, got {self.dropout}")
        require(math.isfinite(self.gamma), f"gamma must be a number, got {self.gamma}")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHeadConfig:
    """A fully convolutional head on an earlier stage (`stage` 0 is the first), used by the training loss.

    `conv_bias` and `negative_slope` (see :class:`HeadConfig`) are those of its 3x3 convolution: the authors' network
    has a bias beside the batch norm, and leaky ReLU.
    """

    stage: int = 2
    channels: int = 256
    conv_bias: bool = False
    negative_slope: float = 0.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        require_sizes(channels=(self.channels,))
        require_slope(self.negative_slope)
        require(0 <= self.dropout < 1, f"dropout must be from 0 to below 1, got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class ParsingConfig:
    """The head of CE2P (Ruan et al., 2019), for parsing humans, with criss-cross attention as its context.

    `channels` are those of the decoder, of the edge features of a stage, and of what the last classifier takes;
    `detail_channels` those that the decoder takes of stage 1. Activation and dropout are those of :class:`HeadConfig`.
    """

    channels: int = 256
    detail_channels: int = 48

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        require_sizes(channels=(self.channels,), detail_channels=(self.detail_channels,))


TTA_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of the published multi-scale figures, each with its mirror image."""


@dataclass(frozen=True, kw_only=True)
class InferencePlan:
    """How a picture becomes labels; the same object in config.json, `predict`, command line and evaluation.

    `mode` "whole" takes the picture as it is. "slide" takes windows of `crop`, every `stride` pixels, both (height,
    width); a crop larger than the picture is cut to it. "fit" fits the picture into `crop`, black around it, takes that
    whole, and leads its scores back to the picture's pixels: see `ccnet_core.fit.Fit`. `scales` resize the
    picture, or the crop of mode "fit"; `flip` adds the mirror image of each; several views are averaged as class
    probabilities. `base_scale` is the published (long edge, short edge) to which `resize="plan"` fits a picture before
    it is scaled; without `resize` it does nothing.
    """

    mode: Mode = "whole"
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_scale: tuple[int, int] | None = None
    resize: Literal["plan"] | None = None

    def __post_init__(self) -> None:
        """Refuse plans that cannot be carried out."""
        require(self.mode in get_args(Mode), f"mode must be 'whole', 'slide' or 'fit', got {self.mode!r}")
        require(self.resize in (None, "plan"), f"resize must be None or 'plan', got {self.resize!r}")
        for name in ("crop", "stride", "base_scale"):
            pair = getattr(self, name)
            require(pair is None or is_pair(pair), f"{name} must be two whole numbers above 0, got {pair!r}")
        if self.mode == "slide":
            require(
                self.crop and self.stride,
                f"mode 'slide' needs crop and stride, each height and width, got {self.crop}, {self.stride}",
            )
        if self.mode == "fit":
            self._require_fit()
        if self.crop and self.stride:
            covered = all(step <= size for step, size in zip(self.stride, self.crop, strict=True))
            require(covered, f"stride {self.stride} must not be larger than crop {self.crop}")
        require(isinstance(self.flip, bool), f"flip must be True or False, got {self.flip!r}")
        positive = isinstance(self.scales, tuple) and all(map(is_positive, self.scales))
        require(self.scales and positive, f"scales must be numbers above 0 in a tuple, got {self.scales!r}")
        if self.resize == "plan":
            require(
                self.base_scale,
                "resize='plan' needs base_scale=(long edge, short edge), and this plan has none. Leave resize out",
            )

    def _require_fit(self) -> None:
        fits = self.crop is not None and all(2 <= edge <= LARGEST_SIZE for edge in self.crop)
        require(fits, f"mode 'fit' needs crop, height and width from 2 to {LARGEST_SIZE} pixels, got {self.crop}")
        require(self.stride is None, f"mode 'fit' has no windows and no stride, got {self.stride}")
        require(self.resize is None, "mode 'fit' sizes the picture itself. Leave resize out")

    def with_options(
        self,
        *,
        mode: Mode | None = None,
        crop: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        scales: tuple[float, ...] = (1.0,),
        flip: bool = False,
        resize: Literal["plan"] | None = None,
    ) -> "InferencePlan":
        """Return this plan with what is given instead: `mode`, `crop` and `stride` default to its own.

        The others default to one view of the picture at its own size. Raises ConfigError for what does not fit.
        """
        own_stride = None if mode == "fit" else self.stride
        plan = dataclasses.replace(
            self,
            mode=self.mode if mode is None else mode,
            crop=self.crop if crop is None else crop,
            stride=own_stride if stride is None else stride,
            scales=scales,
            flip=flip,
            resize=resize,
        )
        belongs = plan.mode == "slide" or not (stride or (crop and plan.mode == "whole"))
        require(belongs, "crop and stride belong to mode='slide', and crop to mode='fit'")
        return plan


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
    """A whole model: what `config.json` of a weights folder holds.

    `classes` and `palette` (red, green, blue, 0-255) have one entry per class. `backbone`, `head` and `auxiliary`, None
    for no auxiliary head, say how the network is built; with `parsing` it has CE2P's head, which takes the maps of a
    ResNet of four stages and has predictions of its own for the training loss, so `auxiliary` is None. `pixels` says
    how bytes are normalised; `align_corners` how logits are upsampled, and feature maps in CE2P's head; `inference` how
    a picture is cut and scaled; `flip_pairs` which classes, such as left and right arm, change places in a mirror
    image. `published` is what was published of it. Raises ConfigError for values that do not fit together.
    """

    model_type: ClassVar[str] = "ccnet"
    architecture: ClassVar[str] = "CCNet"

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    backbone: BackboneConfig | HubBackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    auxiliary: AuxiliaryHeadConfig | None = None
    parsing: ParsingConfig | None = None
    pixels: PixelStatistics = field(default_factory=PixelStatistics)
    align_corners: bool = False
    inference: InferencePlan = field(default_factory=InferencePlan)
    flip_pairs: tuple[tuple[int, int], ...] = ()
    published: Published | None = None

    def __post_init__(self) -> None:
        """Refuse classes, a palette, pairs of classes or heads that do not fit."""
        require(is_text(self.name), f"name must be text, got {self.name!r}")
        require_classes(self.classes, self.palette)
        require_flip_pairs(self.flip_pairs, self.num_classes)
        if self.auxiliary is not None:
            stage = self.auxiliary.stage
            require(0 <= stage < self.backbone.maps, f"auxiliary.stage {stage} is not a stage of the backbone")
        if self.parsing is not None:
            self._require_parsing()

    def _require_parsing(self) -> None:
        resnet = isinstance(self.backbone, BackboneConfig)
        require(resnet, "parsing takes the maps of a ResNet. Leave out parsing, or the other backbone")
        stages = self.backbone.maps
        require(stages == 4, f"parsing takes a backbone of four stages, got {stages}. Give depths four numbers")
        require(self.auxiliary is None, "parsing has a first prediction of its own for the loss. Leave auxiliary out")
        require(self.task == "segmentation", f"parsing takes pictures, got frames {self.head.frames}. Set frames to 1")

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.classes)

    @property
    def task(self) -> Literal["segmentation", "video"]:
        """What the model takes: pictures, or clips whose last frame it labels."""
        return "video" if self.head.frames > 1 else "segmentation"

    def with_classes(
        self,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> "CCNetConfig":
        """Return this configuration for other classes.

        As many as there are, without names, keep the names. New names left out become "class 0", "class 1", ...,
        colours left out those of :func:`ccnet_core.config.default_palette`. Other names have no `flip_pairs`.
        """
        names, colours = replace_classes(self, num_classes, classes, palette)
        kept = names == self.classes
        return dataclasses.replace(
            self,
            classes=names,
            palette=colours,
            flip_pairs=self.flip_pairs if kept else (),
            published=self.published if kept else None,
        )

    def with_recurrence(self, recurrence: int) -> "CCNetConfig":
        """Return this configuration with `recurrence` attention steps."""
        if recurrence == self.head.recurrence:
            return self
        return dataclasses.replace(self, head=dataclasses.replace(self.head, recurrence=recurrence), published=None)

    def with_attention(self, attention: Literal["criss_cross", "non_local"]) -> "CCNetConfig":
        """Return this configuration with another kind of attention; see :class:`ccnet_core.config.HeadConfig`."""
        if attention == self.head.attention:
            return self
        return dataclasses.replace(self, head=dataclasses.replace(self.head, attention=attention), published=None)

    def with_frames(self, frames: int) -> "CCNetConfig":
        """Return this configuration for clips of up to `frames` frames, 1 for pictures."""
        if frames == self.head.frames:
            return self
        return dataclasses.replace(self, head=dataclasses.replace(self.head, frames=frames), published=None)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data for YAML or JSON."""
        return dict(strict.to_mapping(self))


def require_classes(classes: tuple[str, ...], palette: tuple[Colour, ...]) -> None:
    """Raise ConfigError unless there are different names, and a colour for each."""
    require(classes, "a model needs at least one class")
    require(all(map(is_text, classes)), f"class names must be text, got {classes}")
    require(len(set(classes)) == len(classes), "two classes have the same name")
    require(len(palette) == len(classes), f"{len(classes)} classes but {len(palette)} palette colours")
    require(all(map(is_colour, palette)), "a palette colour is three whole numbers from 0 to 255")


class Labelled(Protocol):
    """A configuration with classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def palette(self) -> tuple[Colour, ...]:
        """Their colours."""
        ...


def replace_classes(
    config: Labelled,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return names and colours for other classes than those of `config`; see :meth:`CCNetConfig.with_classes`."""
    counted = num_classes is None or (is_whole(num_classes) and 0 < num_classes <= LARGEST_SIZE)
    require(counted, f"num_classes must be a whole number from 1 to {LARGEST_SIZE}, got {num_classes!r}")
    listed = classes is None or (isinstance(classes, Sequence) and not isinstance(classes, str))
    require(listed, f"classes must be a list of names, got {classes!r}")
    listed = palette is None or (isinstance(palette, Sequence) and all(isinstance(c, Sequence) for c in palette))
    require(listed, f"palette must be a list of colours, got {palette!r}")
    names = config.classes if classes is None else tuple(classes)
    if classes is None and num_classes not in (None, len(names)):
        names = tuple(f"class {index}" for index in range(num_classes or 0))
    require(num_classes in (None, len(names)), f"num_classes is {num_classes} but classes has {len(names)} names")
    if palette is not None:
        return names, tuple(tuple(colour) for colour in palette)  # type: ignore[misc]
    return names, config.palette if names == config.classes else default_palette(len(names))


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
