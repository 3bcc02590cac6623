"""Everything that changes the answer of a Mask R-CNN, and the networks by name."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, ClassVar, Literal

from ccnet_core import strict
from ccnet_core.checks import LARGEST_COUNT, is_positive, is_text, is_whole, require, require_sizes
from ccnet_core.config import BackboneConfig, Colour, default_palette, replace_classes, require_classes
from ccnet_core.errors import ConfigError, nearest

RESNETS = ("resnet18", "resnet50", "resnet101")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """A Mask R-CNN with a feature pyramid: what `config.json` of its weights folder holds.

    `classes` and `palette` (red, green, blue, 0-255) have one entry per class, the background not among them.

    `backbone` is a ResNet of torchvision by its name, or one of ccnet-core. Its batch norm is `frozen`, as weights of
    ImageNet want it, or `batch`: learned with the rest. `recurrence` steps of `attention` stand before the last block
    of its `stage`; 0 leaves attention out. The paper compares two steps of criss-cross attention with one non-local
    block.

    `channels` are those of the pyramid and of the mask head, which has `mask_convolutions`, `box_channels` those of the
    box head. `anchor_sizes` are in pixels, one for each level of the pyramid, which has one more than the backbone has
    stages. Of a picture at most `proposals` (in training, in evaluation) are kept, and `box_samples` trained on.

    Pictures are resized so that the short edge has `min_size` pixels and the long one at most `max_size`. Detections
    score above `score_threshold`; of those of a class that overlap more than `nms_threshold` (intersection over union)
    the best one is kept, and `max_detections` of a picture. Raises ConfigError for values that do not fit together.
    """

    model_type: ClassVar[str] = "ccnet-instances"
    architecture: ClassVar[str] = "MaskRCNN"

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    backbone: Literal["resnet18", "resnet50", "resnet101"] | BackboneConfig = "resnet50"
    norm: Literal["frozen", "batch"] = "frozen"
    norm_epsilon: float = 1e-5
    attention: Literal["criss_cross", "non_local"] = "criss_cross"
    recurrence: int = 2
    stage: str = "layer3"
    channels: int = 256
    box_channels: int = 1024
    mask_convolutions: int = 4
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    min_size: int = 800
    max_size: int = 1333
    proposals: tuple[int, int] = (2000, 1000)
    box_samples: int = 512
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        require(is_text(self.name), f"name must be text, got {self.name!r}")
        require_classes(self.classes, self.palette)
        own = isinstance(self.backbone, BackboneConfig)
        require(own or self.backbone in RESNETS, f"backbone must be one of {', '.join(RESNETS)}, got {self.backbone!r}")
        require(self.norm in ("frozen", "batch"), f"norm must be 'frozen' or 'batch', got {self.norm!r}")
        usual = self.norm == "batch" and self.norm_epsilon == 1e-5
        require(usual or not own, "a backbone of ccnet-core has norm 'batch' with norm_epsilon 1e-5")
        require(0 <= self.norm_epsilon < 1, f"norm_epsilon must be from 0 to below 1, got {self.norm_epsilon}")
        kinds = ("criss_cross", "non_local")
        require(self.attention in kinds, f"attention must be 'criss_cross' or 'non_local', got {self.attention!r}")
        counted = is_whole(self.recurrence) and 0 <= self.recurrence <= LARGEST_COUNT
        require(counted, f"recurrence must be a whole number from 0 to {LARGEST_COUNT}, got {self.recurrence!r}")
        stages = self.backbone.maps if isinstance(self.backbone, BackboneConfig) else 4
        known = [f"layer{number + 1}" for number in range(stages)]
        require(self.stage in known, f"stage must be one of {', '.join(known)}, got {self.stage!r}")
        levels = f"a pyramid over {stages} stages has {stages + 1} levels, anchor_sizes {len(self.anchor_sizes)}"
        require(len(self.anchor_sizes) == stages + 1, levels)
        require_sizes(channels=(self.channels,), box_channels=(self.box_channels,), anchor_sizes=self.anchor_sizes)
        require_sizes(mask_convolutions=(self.mask_convolutions,), largest=LARGEST_COUNT)
        require_sizes(min_size=(self.min_size,), max_size=(self.max_size,), proposals=self.proposals)
        require_sizes(box_samples=(self.box_samples,), max_detections=(self.max_detections,))
        require(self.max_size >= self.min_size, f"max_size {self.max_size} is below min_size {self.min_size}")
        require(0 <= self.score_threshold < 1, f"score_threshold must be from 0 to below 1, got {self.score_threshold}")
        within = is_positive(self.nms_threshold) and self.nms_threshold <= 1
        require(within, f"nms_threshold must be above 0 and at most 1, got {self.nms_threshold}")

    @property
    def num_classes(self) -> int:
        """The number of classes, the background not among them."""
        return len(self.classes)

    @property
    def task(self) -> Literal["instances"]:
        """What the network gives: the objects of a picture."""
        return "instances"

    def with_classes(
        self, classes: Sequence[str] | None = None, palette: Sequence[Sequence[int]] | None = None
    ) -> "DetectorConfig":
        """Return this configuration for other classes; colours left out are Pascal VOC's, without black."""
        names, colours = replace_classes(self, None, classes, palette)
        if palette is None and names != self.classes:
            colours = object_palette(len(names))
        return dataclasses.replace(self, classes=names, palette=colours)

    def with_attention(
        self, attention: Literal["criss_cross", "non_local"] | None = None, recurrence: int | None = None
    ) -> "DetectorConfig":
        """Return this configuration with another kind of attention, or so many steps of it."""
        return dataclasses.replace(
            self,
            attention=self.attention if attention is None else attention,
            recurrence=self.recurrence if recurrence is None else recurrence,
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data for YAML or JSON."""
        return dict(strict.to_mapping(self))


def object_palette(classes: int) -> tuple[Colour, ...]:
    """Return Pascal VOC's colours without its first one: black, which is that of the background."""
    return default_palette(classes + 1)[1:]


def list_detectors() -> list[str]:
    """Return the names that :meth:`MaskRCNN.from_config` takes."""
    return list(_read()["models"])


def load_config(name: str) -> DetectorConfig:
    """Return the configuration `name`, for the 80 classes of COCO. Raises ConfigError, with the nearest names."""
    content = _read()
    if name not in content["models"]:
        raise ConfigError(f"There is no Mask R-CNN {name!r}.{nearest(name, content['models'])}")
    classes = content["coco"]
    mapping = {"name": name, "classes": classes, "palette": object_palette(len(classes)), **content["models"][name]}
    return strict.from_mapping(DetectorConfig, mapping, where=f"detection/models.yaml: {name}")


@functools.cache
def _read() -> dict[str, Any]:
    import yaml  # imported here: a weights folder needs no list of names

    content: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("models.yaml").read_text("utf-8"))
    return content
