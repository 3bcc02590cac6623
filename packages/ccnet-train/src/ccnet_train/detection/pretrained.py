"""A Mask R-CNN from a weights folder or from the Hub, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch

from ccnet_core import hub, tensors, weights_folder
from ccnet_core.devices import find_device
from ccnet_core.preprocess import Picture
from ccnet_core.saved import Saved
from ccnet_train.detection.card import model_card
from ccnet_train.detection.config import DetectorConfig

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN


class Pretrained(Saved):
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

    def _model_card(
        self,
        *,
        metrics: Mapping[str, float],
        datasets: Sequence[str],
        license: str | None,
        has_picture: bool,
        repository: str | None = None,
    ) -> str:
        """Return README.md of a weights folder; see :func:`ccnet_train.detection.card.model_card`."""
        return model_card(
            self.config,
            metrics=metrics,
            datasets=datasets,
            license=license,
            has_picture=has_picture,
            repository=repository,
        )

    def _card_picture(self, picture: Picture | None) -> bytes:
        """Return picture.png of a weights folder; see :func:`ccnet_train.detection.card_picture.card_picture`."""
        from ccnet_train.detection.card_picture import card_picture  # imported here: a prediction needs the network

        return card_picture(cast("MaskRCNN", self), picture)


def _require_instances(_: str, folder: Path) -> None:
    weights_folder.read_config(folder, DetectorConfig)
