"""The weights folder: what is in it, and reading and writing it (interface 3 of ARCHITECTURE.md)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ccnet_core import card, files, strict
from ccnet_core.checks import is_whole
from ccnet_core.config import CCNetConfig
from ccnet_core.errors import WeightsError

FORMAT_VERSION = 1
"""The version of the folder's layout. A newer folder is refused."""

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PREPROCESSOR_FILE = "preprocessor_config.json"
CARD_FILE = "README.md"
FILES = (CONFIG_FILE, WEIGHTS_FILE, PREPROCESSOR_FILE, CARD_FILE)

NOT_CONFIGURATION = ("model_type", "architectures", "format_version", "id2label", "label2id")
"""The keys of config.json that are not fields of CCNetConfig."""


def save_folder(
    folder: str | Path,
    config: CCNetConfig,
    state: Mapping[str, Tensor],
    *,
    metrics: Mapping[str, float],
    datasets: Sequence[str],
) -> None:
    """Write a complete weights folder beside `folder` and rename it into place.

    Raises WeightsError if it cannot be written, or if there is a folder that holds anything else, which would be lost.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        _refuse_foreign_files(Path(folder))
        with files.replace_folder(folder) as target:
            (target / CONFIG_FILE).write_text(json.dumps(_config_json(config), indent=2) + "\n")
            (target / PREPROCESSOR_FILE).write_text(json.dumps(_preprocessor_json(config), indent=2) + "\n")
            (target / CARD_FILE).write_text(card.model_card(config, metrics, datasets), encoding="utf-8")
            save_file(tensors, target / WEIGHTS_FILE, metadata={"format": "pt"})
            # safetensors lets nobody else read its file.
            (target / WEIGHTS_FILE).chmod((target / CONFIG_FILE).stat().st_mode)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{folder}: cannot be written ({reason}). Make room, or give another folder.") from error


def _refuse_foreign_files(folder: Path) -> None:
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in FILES) if folder.is_dir() else []
    if foreign:
        raise WeightsError(f"{folder}: holds {foreign[0]!r}, which is not part of a weights folder. Give a new folder.")


def read_config(folder: Path) -> CCNetConfig:
    """Read config.json of a weights folder. Raises WeightsError or ConfigError that names the file."""
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if (folder / "best" / CONFIG_FILE).is_file():
            raise WeightsError(f"{folder}: this is the folder of a run. Give {folder / 'best'}.") from None
        raise WeightsError(f"{path}: missing. A weights folder holds {CONFIG_FILE} and {WEIGHTS_FILE}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Save or download the folder again.") from error
    if not isinstance(content, dict) or content.get("model_type") != "ccnet":
        raise WeightsError(f"{path}: not a CCNet configuration (model_type is not 'ccnet').")
    _require_format(content.get("format_version"), path)
    return _from_config_json(content, str(path))


def _require_format(version: object, path: Path) -> None:
    if version == FORMAT_VERSION and is_whole(version):
        return
    if is_whole(version) and isinstance(version, int) and version > FORMAT_VERSION:
        remedy = "Upgrade with: python -m pip install --upgrade ccnet-core"
    else:
        remedy = "Save the folder again."
    raise WeightsError(f"{path}: written in format {version}, this ccnet-core reads {FORMAT_VERSION}. {remedy}")


def _config_json(config: CCNetConfig) -> dict[str, Any]:
    content = config.to_mapping()
    del content["published"]  # the figures of somebody's weights, not of these
    classes = content.pop("classes")
    return {
        "model_type": "ccnet",
        "architectures": ["CCNet"],
        "format_version": FORMAT_VERSION,
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
        **content,
    }


def _from_config_json(content: dict[str, Any], where: str) -> CCNetConfig:
    labels = content.get("id2label")
    if not isinstance(labels, dict) or sorted(labels) != sorted(str(index) for index in range(len(labels))):
        raise WeightsError(f"{where}: id2label must name the classes 0, 1, 2, ...")
    if "classes" in content:
        raise WeightsError(f"{where}: unknown key 'classes'. The classes stand in id2label.")
    fields = {key: value for key, value in content.items() if key not in NOT_CONFIGURATION}
    fields["classes"] = [labels[str(index)] for index in range(len(labels))]
    return strict.from_mapping(CCNetConfig, fields, where=where, error=WeightsError)


def _preprocessor_json(config: CCNetConfig) -> dict[str, Any]:
    # The model normalises, in float32, from bytes: a processor that did so too would do it twice.
    return {
        "image_processor_type": "CCNetImageProcessor",
        "do_resize": False,
        "do_rescale": False,
        "do_normalize": False,
        "image_mean": list(config.pixels.mean),
        "image_std": list(config.pixels.std),
    }
