"""The models by name: `models.yaml` says what each one is, `labels.yaml` the classes of its dataset.

`terms.yaml` says what may be done with the data.
"""

import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ccnet_core import strict
from ccnet_core.config import CCNetConfig
from ccnet_core.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class DataTerms:
    """What may be done with a dataset: `page` is its own, `source` where `terms` were read, `hub` its name there."""

    title: str
    terms: str
    page: str | None = None
    source: str | None = None
    hub: str | None = None


def list_models() -> list[str]:
    """Return the names of all models: the 16 of mmsegmentation, the authors' own, then those without weights."""
    models = _read("models.yaml")
    return [*models["published"], *models["unpublished"]]


def load_config(name: str) -> CCNetConfig:
    """Return the configuration of the model `name`. Raises ConfigError, with the nearest names, if there is none."""
    models = _read("models.yaml")
    if name in models["published"]:
        mapping = _published(models, name)
    elif name in models["unpublished"]:
        mapping = dict(models["unpublished"][name])
        mapping |= _labels(mapping.pop("labels", "cityscapes"))
    else:
        raise ConfigError(f"There is no model {name!r}.{nearest(name, list_models())}")
    mapping["backbone"] = models["backbones"][mapping["backbone"]]
    return strict.from_mapping(CCNetConfig, {"name": name, **mapping}, where=f"zoo: {name}")


def find_terms(dataset: str) -> DataTerms | None:
    """Return the terms of `dataset`, named as in ccnet-data, or None for one that is not known here."""
    entry = _read("terms.yaml").get(dataset)
    return None if entry is None else strict.from_mapping(DataTerms, entry, where=f"zoo: terms of {dataset}")


def _published(models: dict[str, Any], name: str) -> dict[str, Any]:
    entry = dict(models["published"][name])
    settings = dict(models["settings"][entry["settings"]])
    labels, crop = settings.pop("labels"), settings.pop("crop")
    figures = {key: entry[key] for key in ("iterations", "miou", "miou_ms_flip", "checkpoint")}
    return {
        "backbone": entry["backbone"],
        "auxiliary": {},
        "published": {"dataset": labels, "crop": crop, **figures},
        **settings,
        **_labels(labels),
    }


def _labels(dataset: str) -> dict[str, Any]:
    entries = _read("labels.yaml")[dataset]
    return {"classes": [name for name, _ in entries], "palette": [colour for _, colour in entries]}


@functools.cache
def _read(file: str) -> dict[str, Any]:
    import yaml  # imported here: a weights folder needs no zoo

    content: dict[str, Any] = yaml.safe_load(files(__package__).joinpath(file).read_text("utf-8"))
    return content
