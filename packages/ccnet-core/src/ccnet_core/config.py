"""Everything that changes a model's answer, in frozen dataclasses that YAML and JSON can hold."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ccnet_core import strict
from ccnet_core.backbone_config import BackboneConfig as BackboneConfig
from ccnet_core.backbone_config import HubBackboneConfig as HubBackboneConfig
from ccnet_core.checks import is_text, require, require_flip_pairs
from ccnet_core.classes import Colour as Colour
from ccnet_core.classes import default_palette as default_palette
from ccnet_core.classes import replace_classes as replace_classes
from ccnet_core.classes import require_classes as require_classes
from ccnet_core.head_config import AuxiliaryHeadConfig as AuxiliaryHeadConfig
from ccnet_core.head_config import HeadConfig as HeadConfig
from ccnet_core.head_config import ParsingConfig as ParsingConfig
from ccnet_core.plan import TTA_SCALES as TTA_SCALES
from ccnet_core.plan import InferencePlan as InferencePlan
from ccnet_core.plan import Mode as Mode


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
        colours left out those of :func:`ccnet_core.classes.default_palette`. Other names have no `flip_pairs`.
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
        """Return this configuration with another kind of attention; see :class:`ccnet_core.head_config.HeadConfig`."""
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
