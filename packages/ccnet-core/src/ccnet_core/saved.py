"""A network to a weights folder and to the Hub, whatever its kind."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from torch import nn

from ccnet_core import hub_push, weights_folder
from ccnet_core.preprocess import Picture
from ccnet_core.weights_folder import FolderConfig


class Saved:
    """A module that is saved with its `config`. Its class says what the model card holds and shows."""

    config: FolderConfig

    def _model_card(
        self,
        *,
        metrics: Mapping[str, float],
        datasets: Sequence[str],
        license: str | None,
        has_picture: bool,
        repository: str | None = None,
    ) -> str:
        """Return README.md of a weights folder; `repository` is "org/name" on the Hub."""
        raise NotImplementedError

    def _card_picture(self, picture: Picture | None) -> bytes:
        """Return picture.png of a weights folder: what the network makes of `picture`, or its classes' colours."""
        raise NotImplementedError

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
        """Write a weights folder: config.json, model.safetensors, a model card, of a CCNet preprocessor_config.json.

        `metrics` (for example `{"miou": 0.506}`), `datasets` (the training data, the data of the metrics first) and
        `license` (of the weights, by its identifier on the Hub) go into the card. It shows the prediction of `picture`,
        a path, image, array or tensor. An older weights folder is replaced whole; a folder that holds
        anything else raises WeightsError.
        """
        text = self._model_card(
            metrics=metrics or {},
            datasets=datasets,
            license=license,
            has_picture=picture is not None,
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
        max_shard_size: int | str = weights_folder.MAX_SHARD_SIZE,
    ) -> str:
        """Make "org/name" on the Hub hold this model's weights folder, and return the web address of the commit.

        The repository is made if it is missing, and so is the branch `revision`. `private=None` leaves to the Hub who
        sees a new one; `token` is that of `hf auth login` by default. The others are those of `save_pretrained`. Raises
        WeightsError, with what to do. See :func:`ccnet_core.hub_push.push_folder`.
        """
        hub_push.require_place(repository, token)
        text = self._model_card(
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
        weights_folder.save_folder(
            folder,
            self.config,
            cast(nn.Module, self).state_dict(),
            card=text,
            picture=self._card_picture(picture),
            max_shard_size=max_shard_size,
        )
