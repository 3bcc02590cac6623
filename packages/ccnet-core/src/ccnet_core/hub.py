"""The weights folder: what is in it, and reading and writing it (interface 3 of ARCHITECTURE.md)."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

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

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Dtypes that may stand for one another in a weights file."""


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


def find_folder(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the local folder `source`, or that of "org/name" on the Hub.

    Raises WeightsError if there is none, with what to give instead.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        raise WeightsError(
            f"{source}: expected a weights folder, this is a file. Give the folder that holds it, or run: ccnet convert"
        )
    if not _looks_like_repository(str(source)):
        raise WeightsError(
            f"{source}: there is no such folder, no model of the zoo of that name (`ccnet models` lists them), "
            "and it is not a Hub name of the form org/name."
        )
    return _download(str(source), revision, token, cache_dir, local_files_only)


def _looks_like_repository(source: str) -> bool:
    parts = source.split("/")
    return len(parts) == 2 and all(parts) and not source.startswith((".", "~"))


def _download(
    repository: str, revision: str | None, token: str | None, cache_dir: str | Path | None, local_files_only: bool
) -> Path:
    # Imported here: the client takes longer to import than everything else core needs beside torch.
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=list(FILES),
            )
        )
    except Exception as error:
        # The client lets through what its HTTP library raises, of which core knows nothing.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise WeightsError(
            f"{repository}: there is no such folder here, and the Hub did not give it: {reason}. "
            "Check the name, the network and, for a private repository, the token."
        ) from error


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


def load_tensors(module: nn.Module, path: str | Path, *, leave_out: Sequence[str] = ()) -> None:
    """Copy the tensors of a safetensors file into `module`, which must have exactly these.

    Names that start with one of `leave_out` are neither read nor required. Raises WeightsError that names the file
    and the first tensors that are missing, surplus, of another shape or kind of number, or have NaN or infinite
    numbers; `module` is then unchanged.
    """
    expected = {name: t for name, t in module.state_dict().items() if not name.startswith(tuple(leave_out))}
    found = _read_tensors(Path(path), tuple(leave_out))
    _refuse_difference(str(path), "missing", [name for name in expected if name not in found])
    _refuse_difference(str(path), "not part of this network", [name for name in found if name not in expected])
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if found[name].shape != tensor.shape
    ]
    _refuse_difference(str(path), "of another shape", misshapen)
    wrong = [
        f"{name} is {found[name].dtype}" for name, tensor in expected.items() if not _same_kind(found[name], tensor)
    ]
    _refuse_difference(str(path), "of another kind of number", wrong)
    useless = [name for name, tensor in found.items() if not tensor.isfinite().all()]
    _refuse_difference(str(path), "with NaN or infinite numbers", useless)
    module.load_state_dict(found, strict=not leave_out)


def _read_tensors(path: Path, leave_out: tuple[str, ...]) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path}: missing, or not a file.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if not name.startswith(leave_out)}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if not os.access(path, os.R_OK):
            raise WeightsError(f"{path}: may not be read. Check its permissions.") from error
        raise WeightsError(f"{path}: damaged or not a safetensors file ({error}). Fetch it again.") from error


def _same_kind(found: Tensor, expected: Tensor) -> bool:
    return found.dtype == expected.dtype or (found.dtype in FLOATING and expected.dtype in FLOATING)


def _refuse_difference(path: str, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise WeightsError(f"{path}: {len(names)} tensors {what}: {', '.join(names[:3])}{more}.")


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
