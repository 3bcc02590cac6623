"""config.json as transformers holds it: attributes that may be changed, and the way back to a strict configuration."""

import copy
import dataclasses
from typing import Any, Self

from transformers import PreTrainedConfig

import ccnet_core.config as core
from ccnet_core import weights_folder

KEYS = [field.name for field in dataclasses.fields(core.CCNetConfig) if field.name not in ("classes", "published")]
"""The keys of config.json that are no names of transformers."""


class CCNetConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of a network under transformers' names: `id2label`, `label2id`, `num_labels`.

    The other keys of config.json are attributes that hold plain data, such as `config.head["recurrence"]`. They are
    read strictly when a network is built. It is written as CCNet writes it, without what transformers adds.
    """

    model_type = "ccnet"

    @classmethod
    def from_network(cls, config: core.CCNetConfig) -> Self:
        """Return `config` in this form."""
        return cls(**weights_folder.config_json(config))

    def network_config(self) -> core.CCNetConfig:
        """Return the strict configuration. Raises WeightsError that names a wrong, missing or unknown key."""
        return weights_folder.parse_config(self.to_dict(), core.CCNetConfig, "the configuration")

    def to_dict(self) -> dict[str, Any]:
        """Return the content of config.json. Another number of classes has default colours and no `flip_pairs`."""
        labels = {str(index): name for index, name in (self.id2label or {}).items()}
        content = {key: copy.deepcopy(getattr(self, key)) for key in KEYS if hasattr(self, key)}
        if len(content.get("palette", ())) != len(labels):
            content["palette"] = [list(colour) for colour in core.default_palette(len(labels))]
            content["flip_pairs"] = []
        return {
            "model_type": self.model_type,
            "architectures": ["CCNet"],
            "format_version": getattr(self, "format_version", weights_folder.FORMAT_VERSION),
            "id2label": labels,
            "label2id": {name: int(index) for index, name in labels.items()},
            **content,
        }

    def to_diff_dict(self) -> dict[str, Any]:
        """Return all of it: a weights folder has no defaults that a later version could change."""
        return self.to_dict()
