"""The weights of a folder: one safetensors file, or several with an index that says which tensor is in which.

The names and the index are those of huggingface_hub and transformers.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ccnet_core import strict
from ccnet_core.checks import is_whole, require
from ccnet_core.errors import WeightsError
from ccnet_core.tensors import StoredTensor, read_header

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True, kw_only=True)
class Index:
    """The index file: `weight_map` has the file of each tensor."""

    weight_map: dict[str, str]
    metadata: dict[str, Any] = field(default_factory=dict)


def write_weights(folder: Path, state: Mapping[str, Tensor], *, max_shard_size: int | str) -> None:
    """Write the tensors of `state` to `folder`, in shards if they take more than `max_shard_size` bytes (or "5GB").

    A tensor larger than that has a shard of its own. Raises ConfigError for another `max_shard_size`, and OSError or
    SafetensorError if the files cannot be written.
    """
    # Imported here: the client takes longer to import than most of what core needs beside torch.
    from huggingface_hub import split_torch_state_dict_into_shards

    sensible = f"max_shard_size must be bytes above 0 or text such as '500MB', got {max_shard_size!r}"
    if isinstance(max_shard_size, str):
        require(not max_shard_size.startswith("-"), sensible)  # which the client would take
    else:
        require(is_whole(max_shard_size) and max_shard_size > 0, sensible)
    separate = dict(_separate(state))
    try:
        split = split_torch_state_dict_into_shards(separate, max_shard_size=max_shard_size)
    except (ValueError, OverflowError):
        require(False, sensible)
    for file, names in split.filename_to_tensors.items():
        save_file({name: separate[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _separate(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Return contiguous tensors on the CPU, no two of which share memory: safetensors refuses those."""
    seen = set()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in seen else tensor
        seen.add(memory)


def open_weights(folder: Path, opened: ExitStack) -> tuple[dict[str, StoredTensor], Path]:
    """Open the files with the weights of `folder`; return what they hold, and the file that says what there should be.

    No tensor is read yet. Raises WeightsError, which names file and tensor, unless there is either one file or an index
    and exactly its shards, each with exactly the tensors that the index says.
    """
    single, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    shards = sorted(path.name for path in folder.iterdir() if SHARD.fullmatch(path.name))
    if index.exists():
        if single.exists():
            raise WeightsError(f"{index}: there is {WEIGHTS_FILE} as well. Save or fetch the folder again.")
        return _open_shards(folder, _read_index(index), shards, opened), index
    if shards:
        raise WeightsError(f"{index}: missing, and {shards[0]} is there. Save or fetch the folder again.")
    return read_header(_open(single, opened)), single


def _read_index(path: Path) -> dict[str, str]:
    index = strict.from_mapping(Index, strict.read_json(path, error=WeightsError), where=str(path), error=WeightsError)
    for name, shard in index.weight_map.items():
        if not SHARD.fullmatch(shard):
            raise WeightsError(
                f"{path}: weight_map: {name}: {shard!r} is not of the form model-00001-of-00002.safetensors."
            )
    return index.weight_map


def _open_shards(
    folder: Path, places: Mapping[str, str], shards: list[str], opened: ExitStack
) -> dict[str, StoredTensor]:
    surplus = [shard for shard in shards if shard not in places.values()]
    if surplus:
        raise WeightsError(f"{folder / surplus[0]}: not part of {INDEX_FILE}. Save or fetch the folder again.")
    stored: dict[str, StoredTensor] = {}
    for shard in sorted(set(places.values())):
        for name, tensor in read_header(_open(folder / shard, opened)).items():
            if places.get(name) != shard:
                elsewhere = f"puts into {places[name]}" if name in places else "does not name"
                raise WeightsError(f"{folder / shard}: has {name}, which {INDEX_FILE} {elsewhere}.")
            stored[name] = tensor
    for name, shard in places.items():
        if name not in stored:
            raise WeightsError(f"{folder / shard}: lacks {name}, which {INDEX_FILE} puts there.")
    return stored


def _open(path: Path, opened: ExitStack) -> FileIO:
    if not path.is_file():
        raise WeightsError(f"{path}: missing, or not a file.")
    try:
        return opened.enter_context(path.open("rb", buffering=0))
    except PermissionError as error:
        raise WeightsError(f"{path}: may not be read. Check its permissions.") from error
