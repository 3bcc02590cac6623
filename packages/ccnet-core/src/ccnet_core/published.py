"""The published files of the zoo: fetched once, checked, converted, and kept as weights folders."""

import hashlib
import os
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch
from torch import nn

from ccnet_core import weights_folder, zoo
from ccnet_core.config import CCNetConfig, Published
from ccnet_core.errors import WeightsError
from ccnet_core.transplant import transplant

SERVER = "https://download.openmmlab.com"
MIRROR_VARIABLE = "CCNET_MIRROR"
"""The environment variable that replaces `SERVER`, for example with a mirror behind a firewall."""


Build = Callable[[CCNetConfig], nn.Module]
"""What makes the network of a configuration."""


def find_published(
    name: str, build: Build, *, cache_dir: str | Path | None = None, local_files_only: bool = False
) -> Path:
    """Return the weights folder of the zoo's model `name`, which is made from its published file the first time.

    Both are named as the published file and lie in `cache_dir`, by default `checkpoints` in `torch.hub.get_dir()`. A
    file that is there already is used and kept; one that is fetched is removed once converted. `local_files_only`
    fetches nothing. Several processes may ask at the same time. Raises WeightsError for a model that was not published
    and for a file that cannot be had or is not the published one, with what to put where.
    """
    url = _url(name)
    cache = Path(cache_dir) if cache_dir is not None else Path(torch.hub.get_dir()) / "checkpoints"
    file = cache / url.rpartition("/")[2]
    folder = file.with_suffix("")
    if (folder / weights_folder.WEIGHTS_FILE).is_file():
        return folder
    convert = f"ccnet convert FILE.pth --model {name} --out FOLDER"
    remedy = f"Put the file {_figures(name).checkpoint} at {file}, or run: {convert}"
    if local_files_only and not file.is_file():
        raise WeightsError(f"{name}: not in the cache, and nothing may be fetched. {remedy}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _make_folder(name, build, url, file, remedy)
    except OSError as error:
        raise WeightsError(f"{cache}: cannot be written ({error}). Make room, or give another cache_dir.") from error
    return folder


def _figures(name: str) -> Published:
    figures = zoo.load_config(name).published
    if figures is None:
        raise WeightsError(f"{name}: there are no published weights. Train it, or start from CCNet.from_config.")
    return figures


def _url(name: str) -> str:
    url = _figures(name).checkpoint
    if not url.startswith(SERVER):
        raise WeightsError(
            f"{name}: its file needs a browser. Fetch {url}, then run: ccnet convert FILE --model {name} --out FOLDER"
        )
    mirror = os.environ.get(MIRROR_VARIABLE, SERVER).rstrip("/")
    if not mirror.startswith(("http://", "https://")):
        raise WeightsError(f"{MIRROR_VARIABLE} is {mirror!r}: expected https://HOST in place of {SERVER}.")
    return mirror + url.removeprefix(SERVER)


def _make_folder(name: str, build: Build, url: str, file: Path, remedy: str) -> None:
    # Imported here: the client takes longer to import than everything else core needs beside torch.
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder = file.with_suffix("")
    with WeakFileLock(file.with_name(f".{folder.name}.lock")):
        if (folder / weights_folder.WEIGHTS_FILE).is_file():  # by another process, meanwhile
            return
        fetched = not file.is_file()
        if fetched:
            _download(url, file, remedy)
        else:
            _require_hash(file, remedy)
        figures, done = _figures(name), transplant(file, build, model=name)
        metrics, datasets = {"miou": figures.miou / 100}, [figures.dataset]
        weights_folder.save_folder(folder, done.config, done.model.state_dict(), metrics=metrics, datasets=datasets)
        if fetched:
            file.unlink()


def _hash_digits(file: Path) -> str:
    """Return the first eight digits of the SHA-256 of the published file, which OpenMMLab puts into its name."""
    return file.stem.rpartition("-")[2]


def _download(url: str, file: Path, remedy: str) -> None:
    try:
        torch.hub.download_url_to_file(url, str(file), hash_prefix=_hash_digits(file))
    except RuntimeError as error:  # a wrong hash, also of a download that was cut short
        raise WeightsError(f"{url}: what came is damaged or another file ({error}). Try again. {remedy}") from error
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is also the answer, and holds the connection
        raise WeightsError(f"{url}: cannot be fetched ({error}). {remedy}") from error


def _require_hash(file: Path, remedy: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(_hash_digits(file)):
        raise WeightsError(f"{file}: damaged or another file: its SHA-256 begins with {found[:8]}. Remove it. {remedy}")
