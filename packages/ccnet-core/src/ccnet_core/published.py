"""The published files of the zoo: fetched once, checked, converted, and kept as weights folders."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from torch import nn

from ccnet_core import card, render, weights_folder, zoo
from ccnet_core.config import CCNetConfig, Published
from ccnet_core.errors import WeightsError
from ccnet_core.transplant import transplant

SERVER = "https://download.openmmlab.com"
MIRROR_VARIABLE = "CCNET_MIRROR"
"""The environment variable that replaces `SERVER`, for example with a mirror behind a firewall."""

TIMEOUT = 30.0
"""Seconds for which the server may be silent."""

LICENCE = "apache-2.0"
"""Of the published weights, as of all that mmsegmentation's repository holds."""

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
    if (folder / weights_folder.CONFIG_FILE).is_file():
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
        if (folder / weights_folder.CONFIG_FILE).is_file():  # by another process, meanwhile
            return
        fetched = not file.is_file()
        if fetched:
            _download(url, file, remedy)
        else:
            _require_hash(file, remedy)
        figures, done = _figures(name), transplant(file, build, model=name)
        metrics, datasets = {"miou": figures.miou / 100}, [figures.dataset]
        text = card.model_card(done.config, metrics=metrics, datasets=datasets, license=LICENCE)
        legend = render.png(render.legend(done.config.classes, done.config.palette))
        weights_folder.save_folder(folder, done.config, done.model.state_dict(), card=text, picture=legend)
        if fetched:
            file.unlink()


def _hash_digits(file: Path) -> str:
    """Return the first eight digits of the SHA-256 of the published file, which OpenMMLab puts into its name."""
    return file.stem.rpartition("-")[2]


def _download(url: str, file: Path, remedy: str) -> None:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]  # imported here: see above

    temporary = file.with_name(f".{file.name}-{uuid.uuid4().hex[:12]}")
    request = Request(url, headers={"User-Agent": "ccnet-core"})
    try:
        with (
            urlopen(request, timeout=TIMEOUT) as answer,
            temporary.open("wb") as stream,
            tqdm.wrapattr(stream, "write", total=answer.length, desc=file.name) as shown,
        ):
            shutil.copyfileobj(answer, shown, 2**20)
        found = _sha256(temporary)
        if not found.startswith(_hash_digits(file)):  # also of a download that was cut short
            message = f"{url}: what came is damaged or another file: its SHA-256 begins with {found[:8]}. Try again."
            raise WeightsError(f"{message} {remedy}")
        temporary.replace(file)
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is also the answer, and holds the connection
        raise WeightsError(f"{url}: cannot be fetched ({error}). {remedy}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _require_hash(file: Path, remedy: str) -> None:
    found = _sha256(file)
    if not found.startswith(_hash_digits(file)):
        raise WeightsError(f"{file}: damaged or another file: its SHA-256 begins with {found[:8]}. Remove it. {remedy}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
