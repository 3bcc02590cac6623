"""A network from a weights folder, from the Hub or from the zoo, and back to a folder or the Hub."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import nn

from ccnet_core import card, hub, published, tensors, weights_folder, zoo
from ccnet_core.checks import require
from ccnet_core.config import CCNetConfig
from ccnet_core.devices import find_device
from ccnet_core.errors import WeightsError
from ccnet_core.preprocess import Picture
from ccnet_core.saved import Saved

if TYPE_CHECKING:
    from ccnet_core.model import CCNet

logger = logging.getLogger(__name__)

CLASSIFIERS = ("head.classify.", "head.classify_first.", "auxiliary_head.classify.")
"""Where the tensors are whose shape depends on the number of classes."""


class Pretrained(Saved, nn.Module):
    """What :class:`ccnet_core.CCNet` does with weights folders."""

    config: CCNetConfig

    def __init__(self, config: CCNetConfig) -> None:
        super().__init__()
        self.config = config

    def start_classifiers(self) -> None:
        """Replace the classifiers, `CLASSIFIERS`, by new ones on the CPU."""
        raise NotImplementedError

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
    ) -> Self:
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
        tensors.require_floating(dtype)
        folder = cls.find_folder(source, revision, token, cache_dir, local_files_only)
        with weights_folder.open_folder(folder, CCNetConfig) as stored:
            config = stored.config.with_classes(num_classes, classes, palette)
            fresh = config.classes != stored.config.classes
            model = cls.load(config, stored, fresh_classifiers=fresh, dtype=dtype, device=place)
        if fresh:
            asked = config.num_classes
            logger.warning(
                "%s: not trained for the %d classes asked for: its classifiers start at random.", source, asked
            )
        return model

    @classmethod
    def load(
        cls,
        config: CCNetConfig,
        stored: weights_folder.OpenFolder[CCNetConfig],
        *,
        fresh_classifiers: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Self:
        """Return the network of `config` with the tensors of `stored`, or those but for the classifiers.

        Raises WeightsError unless these are exactly the tensors of the network; see :func:`tensors.load_tensors`.
        """
        left_out = CLASSIFIERS if fresh_classifiers else ()
        with tensors.shapes_only():
            model = cls(config)
        tensors.load_tensors(model, stored.tensors, stored.weights, leave_out=left_out, dtype=dtype, device=device)
        if fresh_classifiers:
            model.start_classifiers()
        return model.to(device, dtype).eval()  # what was not in the folder: statistics of pixels, new classifiers

    @classmethod
    def find_folder(
        cls,
        source: str | Path,
        revision: str | None,
        token: str | None,
        cache_dir: str | Path | None,
        local_files_only: bool,
    ) -> Path:
        """Return the local folder of `source`; see :meth:`from_pretrained`."""
        named = isinstance(source, str | Path) and str(source)
        require(named, f"expected a weights folder, org/name on the Hub or a model of the zoo, got {source!r}")
        try:
            if not Path(source).exists() and str(source) in zoo.list_models():
                require(revision is None, f"{source}: a model of the zoo, which has no revisions. Leave revision out")
                name = str(source)
                return published.find_published(name, cls, cache_dir=cache_dir, local_files_only=local_files_only)
            return hub.find_folder(
                source, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
        except OSError as error:
            reason = f"{source}: cannot be read ({error.strerror or error}). Check the name and its permissions."
            raise WeightsError(reason) from error

    def _model_card(
        self,
        *,
        metrics: Mapping[str, float],
        datasets: Sequence[str],
        license: str | None,
        has_picture: bool,
        repository: str | None = None,
    ) -> str:
        """Return README.md of a weights folder; see :func:`ccnet_core.card.model_card`."""
        return card.model_card(
            self.config,
            metrics=metrics,
            datasets=datasets,
            license=license,
            has_picture=has_picture,
            repository=repository,
        )

    def _card_picture(self, picture: Picture | None) -> bytes:
        """Return picture.png of a weights folder; see :func:`ccnet_core.card_picture.card_picture`."""
        from ccnet_core.card_picture import card_picture  # imported here: a prediction is made with a CCNet

        return card_picture(cast("CCNet", self), picture)
