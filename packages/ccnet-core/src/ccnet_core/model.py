"""CCNet: backbone -> criss-cross head -> logits, with an auxiliary head for training.

Shape letters: B batch, T frames, K classes, H and W size of the picture, h and w size of the logits (H / 8 in the
published models, rounded up; H / 4 with a head for parsing), h' and w' size of the last feature map.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ccnet_core import zoo
from ccnet_core.activation_checkpointing import Checkpointed
from ccnet_core.attention.select import require_known
from ccnet_core.backbone import Backbone
from ccnet_core.backbone_config import BackboneSource
from ccnet_core.checks import require
from ccnet_core.clips import require_clips
from ccnet_core.config import BackboneConfig, CCNetConfig, HubBackboneConfig
from ccnet_core.heads import AuxiliaryHead, Classifier, CrissCrossHead
from ccnet_core.parsing_head import ParsingHead
from ccnet_core.preprocess import Normalise, Picture, require_pictures
from ccnet_core.pretrained import Pretrained
from ccnet_core.rcca import CrissCrossAttention
from ccnet_core.resnet import ResNet
from ccnet_core.transplant import load_backbone
from ccnet_core.video_head import VideoHead

if TYPE_CHECKING:
    from ccnet_core.optimized import OptimizedCCNet


class CCNetOutput(NamedTuple):
    """`logits` (B, K, h, w) before upsampling; `auxiliary_logits` of the same shape, or None.

    `consistency_features` (B, consistency_channels, h', w') are what the category consistent loss takes, or None. A
    network with `config.parsing` gives its second prediction, the answer, as `logits`, the first one as
    `auxiliary_logits`, and `edge_logits` (B, 2, h, w) for the classes no edge and edge; others have None there.
    """

    logits: Tensor
    auxiliary_logits: Tensor | None
    consistency_features: Tensor | None = None
    edge_logits: Tensor | None = None


class CCNet(Pretrained):
    """A semantic segmentation network with criss-cross attention.

    Takes pictures as bytes or floats from 0 to 255 and normalises them itself. `config` says everything about it: with
    `config.head.frames` above 1 it takes clips.
    """

    def __init__(self, config: CCNetConfig) -> None:
        known = isinstance(config, CCNetConfig)
        require(known, f"expected a CCNetConfig, got {config!r}; CCNet.from_config also takes the name of a model")
        super().__init__(config)
        self.normalise = Normalise(config.pixels)
        self.backbone = make_backbone(config.backbone)
        self.head = make_head(config, self.backbone.channels)
        self.auxiliary_head = None
        if config.auxiliary is not None:
            in_channels = self.backbone.channels[config.auxiliary.stage]
            self.auxiliary_head = AuxiliaryHead(in_channels, config.num_classes, config.auxiliary)

    def forward(self, image: Tensor, *, auxiliary: bool = True, frame: int = -1) -> CCNetOutput:
        """Segment `image` (B, 3, H, W), RGB, 0-255, uint8 or floating.

        A model of clips takes (B, T, 3, H, W), T from 1 to `config.head.frames`, and gives the logits of one `frame`,
        by default the last; a picture is a clip of one frame. `auxiliary=False` leaves out what only a training loss
        needs: everything but the logits. Raises PictureError for another shape, for one without
        pixels, and if there is no such frame.
        """
        if not isinstance(self.head, VideoHead):
            return self.segment(self.features(image), auxiliary=auxiliary)
        clips = require_clips(image, self.config.head.frames, frame)
        stages = [torch.unflatten(stage, 0, clips.shape[:2]) for stage in self._features(clips.flatten(0, 1))]
        auxiliary_logits = self._auxiliary([stage[:, frame] for stage in stages]) if auxiliary else None
        logits, consistency_features = self.head(stages[-1], frame=frame, consistency=auxiliary)
        return CCNetOutput(logits, auxiliary_logits, consistency_features)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the feature map of each stage of the backbone, (B, C_i, h_i, w_i), for pictures (B, 3, H, W).

        Raises PictureError for another shape, and for one without pixels.
        """
        require_pictures(image)
        return self._features(image)

    def segment(self, features: Sequence[Tensor], *, auxiliary: bool = True) -> CCNetOutput:
        """Return what the heads make of the feature maps of pictures; see :meth:`forward`."""
        if isinstance(self.head, ParsingHead):
            return CCNetOutput(*self.head(features, auxiliary=auxiliary))
        auxiliary_logits = self._auxiliary(features) if auxiliary else None
        logits, consistency_features = self.head(features[-1], consistency=auxiliary)
        return CCNetOutput(logits, auxiliary_logits, consistency_features)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        return cast(list[Tensor], self.backbone(self.normalise(pictures).to(self.dtype)))

    def _auxiliary(self, features: Sequence[Tensor]) -> Tensor | None:
        if self.auxiliary_head is None or self.config.auxiliary is None:
            return None
        return cast(Tensor, self.auxiliary_head(features[self.config.auxiliary.stage]))

    def resize_logits(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear `(B, K, h, w) -> (B, K, *size)`, with the model's `align_corners`."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.config.align_corners)

    def use_attention(self, backend: str | None) -> None:
        """Ask for an attention backend by name; None chooses automatically. See `ccnet doctor` for what there is.

        Raises AttentionError for an unknown name.
        """
        require_known(backend)
        for module in self.modules():
            if isinstance(module, CrissCrossAttention):
                module.backend = backend

    def optimized(
        self, *, dtype: torch.dtype | None = None, compile: bool = False, picture: Picture | None = None
    ) -> "OptimizedCCNet":
        """Return a twin that only predicts, faster, for this device; this network stays as it is.

        Batch norms are folded into convolutions, and on the CPU 3x3 convolutions take fewer products; see
        :class:`ccnet_core.OptimizedCCNet`. `dtype` is that of its weights, by default this network's; torch.bfloat16 is
        faster on a CPU with instructions for it. `compile` compiles it with torch.compile, for each size of picture
        anew, which takes a minute or more and a C++ compiler; it says nothing less and does not fall back.

        The twin is checked with `picture`, by default one of random pixels, before it is returned: its `agreement` says
        how near it came. Raises OptimizedError if it is farther off than rounding explains (half precision is only
        reported), or if compiling fails; ConfigError for a `dtype` that is not floating.
        """
        from ccnet_core.optimized import optimize  # imported here: it needs this class

        return optimize(self, dtype=dtype, compile=compile, picture=picture)

    def freeze(self, *, stages: int | None = None, batch_norm: bool = False) -> None:
        """Keep parts of the backbone as they are while the rest trains.

        `stages` freezes the stem and that many stages (0 the stem alone): they get no gradient, and their batch norm
        stays in evaluation mode. `batch_norm` keeps the running statistics of the whole backbone; weights that are not
        frozen still train. Both stay so after `train()`; in mmsegmentation they are `frozen_stages` and `norm_eval`. A
        call says everything: what it does not name trains again. Call it before the optimiser and
        DistributedDataParallel look at the parameters. Raises ConfigError for more stages than there are, and for
        `batch_norm` where there is none.
        """
        self.backbone.freeze(stages=stages, batch_norm=batch_norm)

    def checkpoint_activations(self, enabled: bool = True) -> None:
        """Save training memory for time: keep only the input of the stem, each residual block and each head.

        What is in between is computed again in the backward pass, about a third more work for the step. Gradients are
        the same bits, and batch norm updates its running statistics once. `enabled=False` undoes it. Raises ConfigError
        for a backbone of transformers that cannot do it.
        """
        self.backbone.checkpoint_activations(enabled)
        for module in self.modules():
            if isinstance(module, Checkpointed):
                module.checkpointing = enabled

    def start_classifiers(self) -> None:
        """Replace the classifiers by new ones on the CPU."""
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, Classifier):
                    setattr(module, name, child.renewed(self.config.num_classes))

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the weights."""
        return cast(torch.dtype, self.head.classify.get_submodule("conv").weight.dtype)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return cast(torch.device, self.head.classify.get_submodule("conv").weight.device)

    @property
    def logits_stride(self) -> int:
        """How many pixels a cell of the logits stands for, along each axis."""
        if isinstance(self.head, ParsingHead):
            return self.head.stride
        return self.backbone.stride

    @classmethod
    def from_config(
        cls,
        config: str | CCNetConfig,
        *,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        recurrence: int | None = None,
        attention: Literal["criss_cross", "non_local"] | None = None,
        frames: int | None = None,
        backbone_weights: str | Path | None = None,
        backbone: BackboneSource | Mapping[str, Any] | None = None,
    ) -> "CCNet":
        """Build a network with random weights from a name of :func:`ccnet_core.list_models` or a configuration.

        `num_classes`, `classes` and `palette` replace the published ones; `recurrence` is the number of attention
        steps (0 leaves attention out), `attention` their kind, `frames` the length of clips. `backbone_weights` is a
        file with an ImageNet backbone: mmsegmentation's, torchvision's, timm's, the authors' or our own; see
        :data:`ccnet_core.layouts.BACKBONES`. `backbone`, such as `{"hub": "org/name"}`, puts a backbone of transformers
        in its place, with its statistics of pixels; see :class:`ccnet_core.backbone_config.BackboneSource`. Raises
        ConfigError for an unknown name, with the nearest ones, and WeightsError for wrong `backbone_weights` or a
        `backbone` that cannot be loaded.
        """
        if isinstance(config, str):
            config = zoo.load_config(config)
        require(isinstance(config, CCNetConfig), f"expected a model name or a CCNetConfig, got {config!r}")
        config = config.with_classes(num_classes, classes, palette)
        if recurrence is not None:
            config = config.with_recurrence(recurrence)
        if attention is not None:
            config = config.with_attention(attention)
        if frames is not None:
            config = config.with_frames(frames)
        if backbone is not None:
            require(backbone_weights is None, "backbone brings its own weights. Leave backbone_weights out")
            return cls._with_hub_backbone(config, backbone)
        model = cls(config)
        if backbone_weights is not None:
            resnet = model.backbone
            require(isinstance(resnet, ResNet), "backbone_weights are those of a ResNet, which this network has not")
            load_backbone(cast(ResNet, resnet), backbone_weights, model=config.name)
        return model

    @classmethod
    def _with_hub_backbone(cls, config: CCNetConfig, backbone: BackboneSource | Mapping[str, Any]) -> "CCNet":
        from ccnet_core.hub_backbone import HubBackbone  # imported here, as in make_backbone
        from ccnet_core.hub_source import find_backbone

        found = find_backbone(backbone)
        model = cls(found.replace_backbone(config))
        found.load_into(cast(HubBackbone, model.backbone))
        return model


def make_head(config: CCNetConfig, channels: Sequence[int]) -> CrissCrossHead:
    """Return the head of a configuration for feature maps of `channels`, with random weights."""
    if config.parsing is not None:
        return ParsingHead(channels, config)
    head = VideoHead if config.task == "video" else CrissCrossHead
    return head(channels[-1], config.num_classes, config.head)


def make_backbone(config: BackboneConfig | HubBackboneConfig) -> Backbone:
    """Return the backbone of a configuration, with random weights."""
    if isinstance(config, BackboneConfig):
        return ResNet(config)
    from ccnet_core.hub_backbone import HubBackbone  # imported here: a ResNet needs none of it

    return HubBackbone(config)
