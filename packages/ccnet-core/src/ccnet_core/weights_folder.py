"""The weights folder: what is in it, and reading and writing it (interface 3 of ARCHITECTURE.md)."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from safetensors import SafetensorError
from torch import Tensor

from ccnet_core import files, shards, strict
from ccnet_core.checks import is_whole, require
from ccnet_core.classes import Labelled
from ccnet_core.config import CCNetConfig
from ccnet_core.errors import OtherKindError, WeightsError
from ccnet_core.shards import INDEX_FILE, WEIGHTS_FILE
from ccnet_core.tensors import StoredTensor

FORMAT_VERSION = 1
"""The version of the folder's layout. A newer folder is refused."""

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
CARD_FILE = "README.md"
PICTURE_FILE = "picture.png"
FILES = (
    *(CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE, "model-*-of-*.safetensors"),
    *(PREPROCESSOR_FILE, CARD_FILE, PICTURE_FILE),
)
"""The names in a weights folder, as patterns of fnmatch."""

MAX_SHARD_SIZE = "5GB"
"""Of huggingface_hub, whose server takes larger files badly."""

ATTEMPTS = 50
"""At reading a folder that other processes replace, each of about a millisecond."""

NOT_CONFIGURATION = ("model_type", "architectures", "format_version", "id2label", "label2id")
"""The keys of config.json that are not fields of the configuration."""

KINDS = {
    "ccnet": "a network for semantic segmentation. Load it with ccnet_core.CCNet.from_pretrained",
    "ccnet-instances": "a Mask R-CNN, which finds objects. Use it with `ccnet predict`, or load it with "
    "ccnet_train.detection.MaskRCNN.from_pretrained",
}
"""What a folder of each `model_type` holds, for who asked for another one."""


class FolderConfig(Labelled, Protocol):
    """The configuration of a network that weights folders are made of; `model_type` names its kind."""

    model_type: ClassVar[str]
    architecture: ClassVar[str]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain data."""
        ...


C = TypeVar("C", bound=FolderConfig)
C_co = TypeVar("C_co", bound=FolderConfig, covariant=True)


def save_folder(
    folder: str | Path,
    config: FolderConfig,
    state: Mapping[str, Tensor],
    *,
    card: str,
    picture: bytes | None = None,
    max_shard_size: int | str = MAX_SHARD_SIZE,
) -> None:
    """Write a complete weights folder beside `folder` and rename it into place; see :func:`files.replace_folder`.

    `card` is README.md, `picture` a PNG. Tensors that take more than `max_shard_size` are split; see
    :func:`shards.write_weights`. Raises WeightsError if the folder cannot be written, or if there is one that holds
    anything else, which would be lost.
    """
    named = isinstance(folder, str | Path) and "\0" not in str(folder)
    require(named, f"expected the name of a folder to write, got {folder!r}")
    try:
        with files.replace_folder(folder) as target:
            _refuse_foreign_files(Path(folder))
            (target / CONFIG_FILE).write_text(json.dumps(config_json(config), indent=2) + "\n")
            if isinstance(config, CCNetConfig):
                (target / PREPROCESSOR_FILE).write_text(json.dumps(preprocessor_json(config), indent=2) + "\n")
            (target / CARD_FILE).write_text(card, encoding="utf-8")
            if picture is not None:
                (target / PICTURE_FILE).write_bytes(picture)
            shards.write_weights(target, state, max_shard_size=max_shard_size)
            for path in target.iterdir():
                path.chmod((target / CONFIG_FILE).stat().st_mode)  # safetensors lets nobody else read its files
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"{folder}: cannot be written ({reason}). Make room, or give another folder.") from error


def renew_parts(folder: Path, source: Path) -> None:
    """Make the weights folder `source` a part of `folder`, which holds other files too, one file after another.

    Files of an older weights folder that are not in `source` are removed; `source` is empty afterwards. Raises
    WeightsError if a file cannot be written.
    """
    try:
        names = {path.name for path in source.iterdir()}
        for path in folder.iterdir():
            if is_part(path.name) and path.name not in names:
                path.unlink()
        for name in sorted(names):
            (source / name).replace(folder / name)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be written ({error.strerror}). Make room, or give another.") from error


def is_part(name: str) -> bool:
    """Tell whether a file of this name belongs to a weights folder. Others are neither replaced nor fetched."""
    return any(fnmatch(name, pattern) for pattern in FILES)


def _refuse_foreign_files(folder: Path) -> None:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    foreign = [name for name in names if not is_part(name)]
    if foreign:
        raise WeightsError(f"{folder}: holds {foreign[0]!r}, which is not part of a weights folder. Give a new folder.")


@dataclass(frozen=True, kw_only=True)
class OpenFolder(Generic[C_co]):
    """A weights folder that is open: `tensors` can be read even if another one takes its place.

    `weights` is the file that says which tensors there are.
    """

    config: C_co
    tensors: Mapping[str, StoredTensor]
    weights: Path


@contextmanager
def open_folder(folder: Path, kind: type[C]) -> Iterator[OpenFolder[C]]:
    """Read the configuration and what the files of tensors hold, all of the same save; no tensor is read.

    While other processes replace the folder it is tried again. Raises WeightsError that names the file, and
    OtherKindError if the configuration is of another `kind`.
    """
    for _ in range(ATTEMPTS):
        before = _identity(folder)
        with ExitStack() as opened:
            try:
                found = _open(folder, kind, opened)
            except WeightsError:
                if _identity(folder) == before:
                    raise
                continue
            if _identity(folder) == before:
                yield found
                return
    raise WeightsError(f"{folder}: is replaced again and again while it is read. Try again.")


def _identity(folder: Path) -> tuple[int, ...] | None:
    """Return what differs between a folder and the one that takes its place; also its times, as inodes return."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _open(folder: Path, kind: type[C], opened: ExitStack) -> OpenFolder[C]:
    try:
        config = read_config(folder, kind)
        tensors, weights = shards.open_weights(folder, opened)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be read ({error}). Check its permissions.") from error
    return OpenFolder(config=config, tensors=tensors, weights=weights)


def read_config(folder: Path, kind: type[C]) -> C:
    """Read config.json of a weights folder, as the configuration `kind`. Raises as :func:`open_folder` does."""
    path = folder / CONFIG_FILE
    try:
        content = strict.read_json(path, error=WeightsError)
    except FileNotFoundError:
        if (folder / "best" / CONFIG_FILE).is_file():
            raise WeightsError(f"{folder}: this is the folder of a run. Give {folder / 'best'}.") from None
        raise WeightsError(f"{path}: missing. A weights folder holds {CONFIG_FILE} and {WEIGHTS_FILE}.") from None
    found = content.get("model_type") if isinstance(content, dict) else None
    if found != kind.model_type:
        if isinstance(found, str) and found in KINDS:
            raise OtherKindError(f"{folder}: holds {KINDS[found]}.", found)
        raise WeightsError(f"{path}: not a {kind.architecture} configuration (model_type is not {kind.model_type!r}).")
    _require_format(content.get("format_version"), path)
    return parse_config(content, kind, str(path))


def _require_format(version: object, path: Path) -> None:
    if version == FORMAT_VERSION and is_whole(version):
        return
    if is_whole(version) and isinstance(version, int) and version > FORMAT_VERSION:
        remedy = "Upgrade with: python -m pip install --upgrade ccnet-core"
    else:
        remedy = "Save the folder again."
    raise WeightsError(f"{path}: written in format {version}, this ccnet-core reads {FORMAT_VERSION}. {remedy}")


def config_json(config: FolderConfig) -> dict[str, Any]:
    """Return the content of config.json."""
    content = config.to_mapping()
    content.pop("published", None)  # the figures of somebody's weights, not of these
    classes = content.pop("classes")
    return {
        "model_type": config.model_type,
        "architectures": [config.architecture],
        "format_version": FORMAT_VERSION,
        "id2label": {str(index): name for index, name in enumerate(classes)},
        "label2id": {name: index for index, name in enumerate(classes)},
        **content,
    }


def parse_config(content: dict[str, Any], kind: type[C], where: str) -> C:
    """Return the configuration `kind` of `content`, that of config.json. Raises WeightsError that names `where`."""
    labels = content.get("id2label")
    if not isinstance(labels, dict) or sorted(labels) != sorted(str(index) for index in range(len(labels))):
        raise WeightsError(f"{where}: id2label must name the classes 0, 1, 2, ...")
    if "classes" in content:
        raise WeightsError(f"{where}: unknown key 'classes'. The classes stand in id2label.")
    fields = {key: value for key, value in content.items() if key not in NOT_CONFIGURATION}
    fields["classes"] = [labels[str(index)] for index in range(len(labels))]
    return strict.from_mapping(kind, fields, where=where, error=WeightsError)


def preprocessor_json(config: CCNetConfig) -> dict[str, Any]:
    """Return the content of preprocessor_config.json: what transformers must, and must not, do with a picture."""
    plan = config.inference
    fit = {"fit": dict(zip(("height", "width"), plan.crop, strict=True))} if plan.mode == "fit" and plan.crop else {}
    # The model normalises, in float32, from bytes: a processor that did so too would do it twice.
    return {
        "image_processor_type": "CCNetImageProcessor",
        "do_resize": False,
        "do_rescale": False,
        "do_normalize": False,
        "image_mean": list(config.pixels.mean),
        "image_std": list(config.pixels.std),
        "align_corners": config.align_corners,  # of the logits that become a map of labels
        **fit,
    }
