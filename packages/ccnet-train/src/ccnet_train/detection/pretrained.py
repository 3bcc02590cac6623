"""A Mask R-CNN from a weights folder or from the Hub, and back."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch

from ccnet_core import hub, hub_push, tensors, weights_folder
from ccnet_core.devices import find_device
from ccnet_core.preprocess import Picture
from ccnet_core.weights_folder import MAX_SHARD_SIZE
from ccnet_train.detection.card import model_card
from ccnet_train.detection.config import DetectorConfig

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN


class Pretrained:
    """What :class:`ccnet_train.detection.MaskRCNN` does with weights folders."""

    config: DetectorConfig

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        device: str | torch.device = "cpu",
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
    ) -> Self:
        """Load a weights folder, or one from the Hub by "org/name", in evaluation mode.

        The arguments are those of :meth:`ccnet_core.CCNet.from_pretrained`. `classes` that differ from the folder's
        keep what the network knows of those of the same name; the others start at random, and the log says which.
        Loading is strict: a missing, surplus or misshapen tensor, and one with NaN, raises WeightsError, which names
        file and tensor.
        """
        place = find_device(str(device))
        folder = hub.find_folder(
            source,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            require=_require_instances,
        )
        with weights_folder.open_folder(folder, DetectorConfig) as stored:
            config = stored.config.with_classes(classes, palette)
            with tensors.shapes_only():
                model = cast("MaskRCNN", cast(type, cls)(stored.config))
            tensors.load_tensors(model, stored.tensors, stored.weights, device=place)
        model.eval()
        if config.classes != stored.config.classes:
            from ccnet_train.detection.predictors import replace_classes  # imported here: it needs torchvision

            replace_classes(model, config, source=source)
        model.config = config
        return cast(Self, model)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        metrics: dict[str, float] | None = None,
        datasets: Sequence[str] = (),
        license: str | None = None,
        picture: Picture | None = None,
        max_shard_size: int | str = MAX_SHARD_SIZE,
    ) -> None:
        """Write a weights folder: config.json, model.safetensors and a model card.

        `metrics` (for example `{"mask_ap": 0.361}`) and the other arguments are those of
        :meth:`ccnet_core.CCNet.save_pretrained`. The card shows what is found in `picture`.
        """
        text = model_card(
            self.config, metrics=metrics or {}, datasets=datasets, license=license, has_picture=picture is not None
        )
        self._write_folder(folder, text, picture, max_shard_size)

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
        max_shard_size: int | str = MAX_SHARD_SIZE,
    ) -> str:
        """Make "org/name" on the Hub hold this model's weights folder, and return the web address of the commit.

        The arguments are those of :meth:`ccnet_core.CCNet.push_to_hub`.
        """
        hub_push.require_place(repository, token)
        text = model_card(
            self.config,
            metrics=metrics or {},
            datasets=datasets,
            license=license,
            has_picture=picture is not None,
            repository=repository,
        )
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "weights"
            self._write_folder(folder, text, picture, max_shard_size)
            return hub_push.push_folder(
                folder, repository, revision=revision, token=token, private=private, commit_message=commit_message
            )

    def _write_folder(self, folder: str | Path, text: str, picture: Picture | None, max_shard_size: int | str) -> None:
        from ccnet_train.detection.card_picture import card_picture  # imported here: a prediction needs the network

        model = cast("MaskRCNN", self)
        weights_folder.save_folder(
            folder,
            self.config,
            model.state_dict(),
            card=text,
            picture=card_picture(model, picture),
            max_shard_size=max_shard_size,
        )


def _require_instances(_: str, folder: Path) -> None:
    weights_folder.read_config(folder, DetectorConfig)
