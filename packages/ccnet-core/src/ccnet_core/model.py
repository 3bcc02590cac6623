"""CCNet: backbone -> criss-cross head -> logits, with an auxiliary head for training.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map (H / 8 in the published
models, rounded up).
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ccnet_core import card, hub, hub_push, published, tensors, weights_folder, zoo
from ccnet_core.activation_checkpointing import Checkpointed
from ccnet_core.attention.select import require_known
from ccnet_core.checks import require
from ccnet_core.config import CCNetConfig
from ccnet_core.devices import find_device
from ccnet_core.errors import PictureError, WeightsError
from ccnet_core.heads import AuxiliaryHead, Classifier, CrissCrossHead
from ccnet_core.preprocess import Normalise, Picture
from ccnet_core.rcca import CrissCrossAttention
from ccnet_core.resnet import ResNet
from ccnet_core.transplant import load_backbone

logger = logging.getLogger(__name__)

CLASSIFIERS = ("head.classify.", "auxiliary_head.classify.")
"""Where the tensors are whose shape depends on the number of classes."""


class CCNetOutput(NamedTuple):
    """`logits` (B, K, h, w) before upsampling; `auxiliary_logits` of the same shape, or None.

    `consistency_features` (B, consistency_channels, h, w) are what the category consistent loss takes, or None.
    """

    logits: Tensor
    auxiliary_logits: Tensor | None
    consistency_features: Tensor | None = None


class CCNet(nn.Module):
    """A semantic segmentation network with criss-cross attention.

    Takes pictures as bytes or floats from 0 to 255 and normalises them itself. `config` says everything about it.
    """

    def __init__(self, config: CCNetConfig) -> None:
        super().__init__()
        known = isinstance(config, CCNetConfig)
        require(known, f"expected a CCNetConfig, got {config!r}; CCNet.from_config also takes the name of a model")
        self.config = config
        self.normalise = Normalise(config.pixels)
        self.backbone = ResNet(config.backbone)
        self.head = CrissCrossHead(self.backbone.channels[-1], config.num_classes, config.head)
        self.auxiliary_head = None
        if config.auxiliary is not None:
            in_channels = self.backbone.channels[config.auxiliary.stage]
            self.auxiliary_head = AuxiliaryHead(in_channels, config.num_classes, config.auxiliary)

    def forward(self, image: Tensor, *, auxiliary: bool = True) -> CCNetOutput:
        """Segment `image` (B, 3, H, W), RGB, 0-255, uint8 or floating.

        `auxiliary=False` leaves out what only a training loss needs: auxiliary logits and consistency features. Raises
        PictureError for another shape, and for one without pixels.
        """
        if not isinstance(image, Tensor):
            raise PictureError(f"Expected pictures as a tensor (B, 3, H, W), got {type(image).__name__}.")
        if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape[2:]:
            raise PictureError(f"Expected pictures (B, 3, H, W), got {tuple(image.shape)}.")
        features = self.backbone(self.normalise(image).to(self.dtype))
        auxiliary_logits = None
        if auxiliary and self.auxiliary_head is not None and self.config.auxiliary is not None:
            auxiliary_logits = self.auxiliary_head(features[self.config.auxiliary.stage])
        logits, consistency_features = self.head(features[-1], consistency=auxiliary)
        return CCNetOutput(logits, auxiliary_logits, consistency_features)

    def resize_logits(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear (B, K, h, w) -> (B, K, *size), with the model's `align_corners`."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=self.config.align_corners)

    def use_attention(self, backend: str | None) -> None:
        """Ask for an attention backend by name; None chooses automatically. See `ccnet doctor` for what there is.

        Raises AttentionError for an unknown name.
        """
        require_known(backend)
        for module in self.modules():
            if isinstance(module, CrissCrossAttention):
                module.backend = backend

    def freeze(self, *, stages: int | None = None, batch_norm: bool = False) -> None:
        """Keep parts of the backbone as they are while the rest trains.

        `stages` freezes the stem and that many stages (0 the stem alone): they get no gradient, and their batch norm
        stays in evaluation mode. `batch_norm` keeps the running statistics of the whole backbone; weights that are not
        frozen still train. Both stay so after `train()`; in mmsegmentation they are `frozen_stages` and `norm_eval`. A
        call says everything: what it does not name trains again. Call it before the optimiser and
        DistributedDataParallel look at the parameters. Raises ConfigError for more stages than there are.
        """
        self.backbone.freeze(stages=stages, batch_norm=batch_norm)

    def checkpoint_activations(self, enabled: bool = True) -> None:
        """Save training memory for time: keep only the input of the stem, each residual block and each head.

        What is in between is computed again in the backward pass, about a third more work for the step. Gradients are
        the same bits, and batch norm updates its running statistics once. `enabled=False` undoes it.
        """
        for module in self.modules():
            if isinstance(module, Checkpointed):
                module.checkpointing = enabled

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the weights."""
        return cast(torch.dtype, self.head.classify.get_submodule("conv").weight.dtype)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return cast(torch.device, self.head.classify.get_submodule("conv").weight.device)

    @classmethod
    def from_config(
        cls,
        config: str | CCNetConfig,
        *,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        recurrence: int | None = None,
        backbone_weights: str | Path | None = None,
    ) -> "CCNet":
        """Build a network with random weights from a name of :func:`ccnet_core.list_models` or a configuration.

        `num_classes`, `classes` and `palette` replace the published ones; `recurrence` is the number of attention
        steps (0 leaves attention out). `backbone_weights` is a file with an ImageNet backbone: mmsegmentation's,
        torchvision's, timm's, the authors' or our own; see :data:`ccnet_core.layouts.BACKBONES`.
        Raises ConfigError for an unknown name, with the nearest ones, and WeightsError for a wrong `backbone_weights`.
        """
        if isinstance(config, str):
            config = zoo.load_config(config)
        require(isinstance(config, CCNetConfig), f"expected a model name or a CCNetConfig, got {config!r}")
        config = config.with_classes(num_classes, classes, palette)
        if recurrence is not None:
            config = config.with_recurrence(recurrence)
        model = cls(config)
        if backbone_weights is not None:
            load_backbone(model.backbone, backbone_weights, model=config.name)
        return model

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> "CCNet":
        """Load a weights folder, one from the Hub by "org/name", or a published model of the zoo, in evaluation mode.

        A folder of the name `source` wins. A model of the zoo is fetched, checked and converted the first time; see
        :func:`ccnet_core.published.find_published`. It has no `revision`, and no `token` is sent for it.
        `dtype` is that of the weights, a floating one, by default torch's (float32); `device` as for
        :func:`ccnet_core.devices.find_device`. Tensors go there one by one, so that no second copy is held.
        `num_classes` or `classes` that differ from the folder's start the classifiers anew, and the log says so.
        Loading is strict: a missing, surplus or misshapen tensor, and one with NaN, raises WeightsError, which names
        file and tensor. A folder that was changed inside its tensors, but for NaN, is not noticed; one that comes from
        the Hub is, see :func:`ccnet_core.hub.find_folder`.
        """
        place, dtype = find_device(str(device)), torch.get_default_dtype() if dtype is None else dtype
        known = dtype in tensors.FLOATING
        require(known, f"dtype must be one of {', '.join(map(str, tensors.FLOATING))}, got {dtype!r}")
        folder = cls._find_folder(source, revision, token, cache_dir, local_files_only)
        with weights_folder.open_folder(folder) as stored:
            config = stored.config.with_classes(num_classes, classes, palette)
            fresh = CLASSIFIERS if config.classes != stored.config.classes else ()
            with tensors.shapes_only():
                model = cls(config)
            tensors.load_tensors(model, stored.tensors, stored.weights, leave_out=fresh, dtype=dtype, device=place)
        if fresh:
            model._start_classifiers()
            asked = config.num_classes
            logger.warning(
                "%s: not trained for the %d classes asked for: its classifiers start at random.", source, asked
            )
        return model.to(place, dtype).eval()  # what was not in the folder: statistics of pixels, new classifiers

    @classmethod
    def _find_folder(
        cls,
        source: str | Path,
        revision: str | None,
        token: str | None,
        cache_dir: str | Path | None,
        local_files_only: bool,
    ) -> Path:
        named = isinstance(source, str | Path) and str(source)
        require(named, f"expected a weights folder, org/name on the Hub or a model of the zoo, got {source!r}")
        try:
            if str(source) in zoo.list_models() and not Path(source).exists():
                require(revision is None, f"{source}: a model of the zoo, which has no revisions. Leave revision out")
                name = str(source)
                return published.find_published(name, cls, cache_dir=cache_dir, local_files_only=local_files_only)
            return hub.find_folder(
                source, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
        except OSError as error:
            reason = f"{source}: cannot be read ({error.strerror or error}). Check the name and its permissions."
            raise WeightsError(reason) from error

    def _start_classifiers(self) -> None:
        """Replace the classifiers by new ones on the CPU."""
        head, auxiliary, count = self.config.head, self.config.auxiliary, self.config.num_classes
        self.head.classify = Classifier(head.channels, count, head.dropout)
        if self.auxiliary_head is not None and auxiliary is not None:
            self.auxiliary_head.classify = Classifier(auxiliary.channels, count, auxiliary.dropout)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        metrics: dict[str, float] | None = None,
        datasets: Sequence[str] = (),
        license: str | None = None,
        picture: Picture | None = None,
        max_shard_size: int | str = weights_folder.MAX_SHARD_SIZE,
    ) -> None:
        """Write a weights folder: config.json, model.safetensors, preprocessor_config.json and a model card.

        `metrics` (for example `{"miou": 0.506}`), `datasets` (the training data, the data of the metrics first) and
        `license` (of the weights, by its identifier on the Hub) go into the card. It shows the prediction of `picture`,
        which is what :func:`ccnet_core.predict` takes. An older weights folder is replaced whole; a folder that holds
        anything else raises WeightsError.
        """
        self._write_folder(folder, max_shard_size, picture, metrics=metrics, datasets=datasets, license=license)

    def push_to_hub(
        self,
        repository: str,
        *,
        revision: str | None = None,
        token: str | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        metrics: dict[str, float] | None = None,
        datasets: Sequence[str] = (),
        license: str | None = None,
        picture: Picture | None = None,
        max_shard_size: int | str = weights_folder.MAX_SHARD_SIZE,
    ) -> str:
        """Make "org/name" on the Hub hold this model's weights folder, and return the web address of the commit.

        The repository is made if it is missing, and so is the branch `revision`. `private=None` leaves to the Hub who
        sees a new one; `token` is that of `hf auth login` by default. The others are those of `save_pretrained`. Raises
        WeightsError, with what to do. See :func:`ccnet_core.hub_push.push_folder`.
        """
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "weights"
            self._write_folder(
                folder,
                max_shard_size,
                picture,
                metrics=metrics,
                datasets=datasets,
                license=license,
                repository=repository,
            )
            return hub_push.push_folder(
                folder, repository, revision=revision, token=token, private=private, commit_message=commit_message
            )

    def _write_folder(
        self,
        folder: str | Path,
        max_shard_size: int | str,
        picture: Picture | None,
        *,
        metrics: dict[str, float] | None,
        datasets: Sequence[str],
        license: str | None,
        repository: str | None = None,
    ) -> None:
        from ccnet_core.card_picture import card_picture  # imported here: a prediction is made with a CCNet

        text = card.model_card(
            self.config,
            metrics=metrics or {},
            datasets=datasets,
            license=license,
            has_picture=picture is not None,
            repository=repository,
        )
        weights_folder.save_folder(
            folder,
            self.config,
            self.state_dict(),
            card=text,
            picture=card_picture(self, picture),
            max_shard_size=max_shard_size,
        )
