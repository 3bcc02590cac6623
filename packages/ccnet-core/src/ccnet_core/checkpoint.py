"""Checkpoints of any origin: their tensors by name, and the classes if the file knows them. No file can run code."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ccnet_core.checks import is_colour
from ccnet_core.config import Colour
from ccnet_core.errors import WeightsError
from ccnet_core.torch_file import StoredTensor, open_torch_file
from ccnet_core.unpickle import Inert

STATE_DICT_KEYS = ("state_dict", "model")
"""Where training programs put the state dict; mmengine and mmcv the first, the authors of CCNet the second."""

WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before every name."""

LONGEST_NAME = 200

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a file under its own names, without the prefixes of wrappers, in the order of the file.

    `classes` and `palette` are None where the file does not say them, or says what no model can use.
    """

    path: Path
    tensors: Mapping[str, StoredTensor]
    classes: tuple[str, ...] | None = None
    palette: tuple[Colour, ...] | None = None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Open a file of torch.save (zip, or the older form) or of safetensors; its content says which.

    Objects in the file other than numbers, text and containers are never made. No tensor is read yet. Raises
    WeightsError, which names the file, if it is missing, damaged, of another kind, or holds no state dict.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise WeightsError(
                f"{path}: this is a folder or a pipe. Give the file, or load a weights folder with from_pretrained."
            )
        with path.open("rb") as file:
            beginning = file.read(16)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}). Check the name and its permissions.") from error
    try:
        if beginning[8:9] == b"{":
            return _from_safetensors(path)
        if beginning[:2] == b"PK" or beginning[:1] == b"\x80":  # a zip archive or a pickle
            return _from_torch_file(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}.") from error
    raise WeightsError(f"{path}: {_guess(beginning)}. Give a file of torch.save or of safetensors.")


def _guess(beginning: bytes) -> str:
    if not beginning:
        return "is empty"
    if beginning.lstrip()[:1] == b"<":
        return "is a web page, perhaps of a download that needs a browser"
    if beginning.startswith(b"version https://"):
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull`"
    return f"is no checkpoint (it begins with {beginning[:8]!r})"


def _from_safetensors(path: Path) -> Checkpoint:
    try:
        file: Any = safe_open(path, framework="pt")
        tensors = _named((name, _stored(file, name)) for name in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"is damaged or cut short ({error})") from error
    return Checkpoint(path=path, tensors=tensors)


def _stored(file: Any, name: str) -> StoredTensor:
    part = file.get_slice(name)
    kind = part.get_dtype()
    if kind not in SAFETENSORS_DTYPES:
        raise WeightsError(f"has numbers of the kind {kind}, which no network here has")
    shape = tuple(part.get_shape())
    return StoredTensor(shape=shape, dtype=SAFETENSORS_DTYPES[kind], read=lambda: file.get_tensor(name))


def _from_torch_file(path: Path) -> Checkpoint:
    file = open_torch_file(path)
    classes, palette = _classes(file.saved)
    tensors = _named((name, file.tensor(saved)) for name, saved in _state_dict(file.saved).items())
    return Checkpoint(path=path, tensors=tensors, classes=classes, palette=palette)


def _named(tensors: Iterable[tuple[object, StoredTensor | None]]) -> dict[str, StoredTensor]:
    named: dict[str, StoredTensor] = {}
    for name, tensor in tensors:
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise WeightsError("has a tensor without a sensible name")
        if tensor is None:
            raise WeightsError(f"{name!r} in its state dict is not a tensor")
        plain = WRAPPERS.sub("", name)
        if plain in named:
            raise WeightsError(f"{plain!r} is there twice")
        named[plain] = tensor
    return named


def _state_dict(saved: object) -> Mapping[Any, Any]:
    whole = _items(saved)
    for key in STATE_DICT_KEYS:
        if key in whole and _items(whole[key]):
            return _items(whole[key])
    objects = [
        part for part in (saved, *map(whole.get, STATE_DICT_KEYS)) if isinstance(part, Inert) and not _is_dict(part)
    ]
    if objects:
        raise WeightsError(f"holds an object of {objects[0].name[:80]!r}, which is not run here. Save its state_dict()")
    if not any(_is_tensor(part) for part in whole.values()):
        first = ", ".join(repr(key[:40]) for key in list(whole)[:5] if isinstance(key, str)) or "none"
        raise WeightsError(f"holds no state dict at the top or under {STATE_DICT_KEYS}. Its first keys: {first}")
    return whole


def _is_tensor(part: object) -> bool:
    return isinstance(part, Inert) and part.name.startswith("torch._utils._rebuild")


def _items(saved: object) -> Mapping[Any, Any]:
    match saved:
        case Inert(name="collections.OrderedDict", arguments=([*pairs],)):  # as Python 2 wrote it
            return {pair[0]: pair[1] for pair in pairs if _is_item(pair)}
        case Inert():
            return saved.items
    return saved if isinstance(saved, dict) else {}


def _is_dict(part: Inert) -> bool:
    return bool(part.items) or part.name == "collections.OrderedDict"


def _is_item(pair: object) -> bool:
    return isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)


def _classes(saved: object) -> tuple[tuple[str, ...] | None, tuple[Colour, ...] | None]:
    """Return names and colours as mmsegmentation 0.x (upper case) or mmengine (in `dataset_meta`) writes them."""
    meta = _items(_items(saved).get("meta"))
    said = {**_items(meta.get("dataset_meta")), **meta}
    return _names(said.get("classes", said.get("CLASSES"))), _colours(said.get("palette", said.get("PALETTE")))


def _names(said: object) -> tuple[str, ...] | None:
    if not isinstance(said, tuple | list) or not all(isinstance(name, str) for name in said):
        return None
    names = tuple(name.strip() for name in said)  # mmsegmentation writes "bed " in ADE20K
    usable = all(name and name.isprintable() for name in names) and len(set(names)) == len(names)
    return names if usable else None


def _colours(said: object) -> tuple[Colour, ...] | None:
    if not isinstance(said, tuple | list) or not all(isinstance(colour, tuple | list) for colour in said):
        return None
    colours = tuple(tuple(colour) for colour in said)
    return colours if all(map(is_colour, colours)) else None
