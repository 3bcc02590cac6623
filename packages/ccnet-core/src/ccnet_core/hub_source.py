"""Backbones of transformers from a folder or the Hub, into the configuration and the network of a new CCNet."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ccnet_core import hub, strict
from ccnet_core.backbone_config import BackboneSource, HubBackboneConfig, cut, depth, require_family
from ccnet_core.checks import require
from ccnet_core.config import AuxiliaryHeadConfig, CCNetConfig, PixelStatistics
from ccnet_core.errors import CCNetError, WeightsError
from ccnet_core.hub_backbone import HubBackbone, library_config, require_transformers, setting_names
from ccnet_core.weights_folder import CONFIG_FILE, PREPROCESSOR_FILE

FRESH = ("hidden_states_norms.", "swin.layernorm.")
"""Tensors that a classifier lacks, or has for its last stage only: they start anew or are not used."""


@dataclass(frozen=True, kw_only=True)
class FoundBackbone:
    """A backbone in a local folder: its settings cut after the stage asked for, and its statistics of pixels."""

    source: BackboneSource
    folder: Path
    settings: dict[str, Any]
    pixels: PixelStatistics

    def replace_backbone(self, config: CCNetConfig) -> CCNetConfig:
        """Return `config` with this backbone.

        The auxiliary head goes to the stage three quarters deep, and is left out if the backbone has one stage.
        """
        last = depth(self.settings)
        earlier = 3 * last // 4
        stages = (earlier, last) if config.auxiliary is not None and earlier else (last,)
        auxiliary: AuxiliaryHeadConfig | None = None
        if config.auxiliary is not None and len(stages) == 2:
            auxiliary = dataclasses.replace(config.auxiliary, stage=0)
        named = hub.is_repository(self.source.hub) and not Path(self.source.hub).is_dir()
        backbone = HubBackboneConfig(
            settings=self.settings,
            stages=stages,
            hub=self.source.hub if named else None,  # a folder's name says nothing elsewhere
            revision=self.folder.name if named else None,  # the client names it after the commit
        )
        return dataclasses.replace(
            config, backbone=backbone, auxiliary=auxiliary, pixels=self.pixels, align_corners=False, published=None
        )

    def load_into(self, backbone: HubBackbone) -> None:
        """Give `backbone` the weights of the folder, if they are wanted.

        Raises WeightsError if they are no safetensors, or if a tensor is missing or of another shape. The norms of the
        feature maps, which a classifier lacks, start anew.
        """
        if not self.source.pretrained:
            return
        try:
            with _quiet():
                network, report = type(backbone.network).from_pretrained(  # AutoBackbone's asks the Hub about a path
                    self.folder,
                    config=library_config(backbone.config),
                    dtype=torch.get_default_dtype(),
                    use_safetensors=True,
                    local_files_only=True,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
        except Exception as error:  # transformers answers damaged files with errors of every kind
            raise WeightsError(f"{self.folder}: no weights of a backbone can be read ({error}).") from error
        misshapen = {name for name, *_ in report["mismatched_keys"]}
        lacking = sorted(name for name in {*report["missing_keys"], *misshapen} if not name.startswith(FRESH))
        if lacking:
            count = len(lacking)
            raise WeightsError(f"{self.folder}: lacks {count} tensors of its backbone, or in this shape: {lacking[0]}.")
        backbone.adopt(network.train(backbone.training))


def find_backbone(source: BackboneSource | Mapping[str, Any]) -> FoundBackbone:
    """Find the backbone that `source` names, in its folder or on the Hub; see :class:`BackboneSource`.

    Raises ConfigError for an unknown key, a kind of backbone that is not known here, one that comes with code, and if
    the extra `transformers` is not installed; WeightsError if there is no such folder or repository.
    """
    if not isinstance(source, BackboneSource):
        source = strict.from_mapping(BackboneSource, source, where="backbone")
    require_transformers()
    folder = hub.find_folder(source.hub, revision=source.revision, require=_require_backbone)
    _require_backbone(source.hub, folder)
    settings = _settings(folder)
    last = depth(settings)
    out = last if source.out_stage is None else source.out_stage
    require(out <= last, f"{source.hub}: out_stage is {out}, and its backbone has {last} stages")
    return FoundBackbone(source=source, folder=folder, settings=cut(settings, out), pixels=_pixels(folder))


def _require_backbone(name: str, folder: Path) -> None:
    """Raise an error, before gigabytes are fetched, unless config.json is that of a known backbone without code."""
    content = _read(folder / CONFIG_FILE)
    require(
        "auto_map" not in content,
        f"{name}: it comes with code of its own, which is not run here. Take a backbone that transformers has",
    )
    try:
        require_family(content.get("model_type"))
    except CCNetError as error:
        raise type(error)(f"{name}: {error}") from None


def _settings(folder: Path) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers answers wrong values with errors of every kind
        raise WeightsError(f"{folder / CONFIG_FILE}: not a configuration that transformers reads ({error}).") from error
    settings = {name: getattr(config, name) for name in sorted(setting_names(type(config)))}
    if "use_mask_token" in settings:
        settings["use_mask_token"] = False  # for pictures with holes in them: it would get no gradient
    return {"model_type": config.model_type, **strict.to_mapping(settings)}


def _pixels(folder: Path) -> PixelStatistics:
    """Return what the backbone's own image processor does, for pixels from 0 to 255; ImageNet's if it has none."""
    path = folder / PREPROCESSOR_FILE
    if not path.is_file():
        return PixelStatistics()
    content = _read(path)
    scale = content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0
    mean, std = content.get("image_mean"), content.get("image_std")
    if not content.get("do_normalize", True) or mean is None or std is None:
        mean, std = [0.0] * 3, [1.0] * 3
    statistics = {"mean": [round(m / scale, 6) for m in mean], "std": [round(s / scale, 6) for s in std]}
    return strict.from_mapping(PixelStatistics, statistics, where=str(path), error=WeightsError)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = strict.read_json(path, error=WeightsError)
    except FileNotFoundError:
        raise WeightsError(f"{path}: missing. A backbone's folder holds it beside its weights.") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected keys and values.")
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out transformers' bar and its report of every tensor: what matters of it is checked here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
