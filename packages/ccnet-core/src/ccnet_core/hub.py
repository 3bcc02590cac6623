"""Weights folders from the Hugging Face Hub, through its own client."""

import hashlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ccnet_core import weights_folder, zoo
from ccnet_core.config import CCNetConfig
from ccnet_core.errors import CCNetError, WeightsError, nearest
from ccnet_core.hub_errors import explain

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

Require = Callable[[str, Path], None]
"""Raises an error unless the configuration in a folder, of the repository of that name, is what is wanted."""

TIMEOUT = 10.0
"""Seconds that the Hub may take for its first answer. The client by itself waits for ever."""


def find_folder(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    require: Require | None = None,
) -> Path:
    """Return the local folder `source`, or that of "org/name" on the Hub, which the client keeps in its cache.

    `revision` is a branch, a tag or a commit. When the Hub cannot be reached, or `local_files_only`, the copy in the
    cache serves. At every load the files are held against the digests that the Hub gave for them (0.16 s for 285 MB),
    and a damaged one is removed and fetched once more. A cache without symbolic links, as Windows may have, does not
    keep the digests: there only sizes are compared, and only when files are fetched.

    `require` is called with a name and a folder that holds config.json, before anything else is fetched, and raises an
    error for what is not wanted; by default for what is no weights folder. Raises WeightsError, with what to do, if
    there is no such folder or none that is as the Hub announced it.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        raise WeightsError(
            f"{source}: expected a weights folder, this is a file. Give the folder that holds it, or run: ccnet convert"
        )
    if not is_repository(str(source)):
        models = "" if "/" in str(source) else nearest(str(source), zoo.list_models())
        raise WeightsError(
            f"{source}: there is no such folder, it is not a Hub name of the form org/name, "
            f"and no model of the zoo.{models}"
        )
    require_token(token)
    return _pull(str(source), revision, token, cache_dir, local_files_only, require or _require_weights)


def is_repository(source: str) -> bool:
    """Tell whether `source` has the form org/name."""
    parts = source.split("/")
    return len(parts) == 2 and all(parts) and not source.startswith((".", "~"))


def require_token(token: str | None) -> None:
    """Refuse what cannot be a token of the Hub. The client would fail at it, and repeat it in its message."""
    plain = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    if token is not None and not (token and plain):
        raise WeightsError("token: expected a token of the Hub, which begins with hf_ and has no spaces.")


def _pull(
    repository: str,
    revision: str | None,
    token: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    require: Require,
) -> Path:
    for _ in range(2):
        folder = _find_snapshot(repository, revision, token, cache_dir, local_files_only, require)
        damaged = _remove_damaged(file for file in folder.iterdir() if weights_folder.is_part(file.name))
        if not damaged:
            return folder
    raise WeightsError(
        f"{repository}: what comes is not what the Hub announced: {', '.join(damaged)}. None of it is kept. "
        "Try again later, or on another network."
    )


def _find_snapshot(
    repository: str,
    revision: str | None,
    token: str | None,
    cache_dir: str | Path | None,
    local_files_only: bool,
    require: Require,
) -> Path:
    # Imported here: the client takes longer to import than everything else core needs beside torch.
    from huggingface_hub import HfApi, constants, snapshot_download

    find = partial(snapshot_download, repository, cache_dir=cache_dir, token=token)
    find_all = partial(find, revision=revision, allow_patterns=list(weights_folder.FILES))
    local_files_only = local_files_only or constants.HF_HUB_OFFLINE
    try:
        if not local_files_only:
            commit = _find_commit(HfApi(token=token), repository, revision)
            # By itself, so that the gigabytes of another library never follow.
            configuration = Path(find(revision=commit, allow_patterns=weights_folder.CONFIG_FILE))
            _require_configuration(repository, configuration, require)
        return Path(find_all(local_files_only=local_files_only))
    except CCNetError:
        raise
    except Exception as error:  # also what its HTTP library raises, of which core knows nothing
        reason = explain(error)
        try:
            folder = Path(find_all(local_files_only=True))
        except Exception:
            message = f"{repository}: there is no such folder here, and the Hub did not give it: {reason}."
            raise WeightsError(message) from error
        logger.warning("%s: %s. The copy in the cache is used.", repository, reason)
        return folder


def _find_commit(api: "HfApi", repository: str, revision: str | None) -> str | None:
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return api.model_info(repository, revision=revision, timeout=TIMEOUT).sha
    except RevisionNotFoundError as error:
        refs = api.list_repo_refs(repository)
        known = nearest(str(revision), [ref.name for ref in (*refs.branches, *refs.tags)])
        raise WeightsError(f"{repository}: there is no revision {revision!r}.{known}") from error


def _require_configuration(repository: str, folder: Path, require: Require) -> None:
    path = folder / weights_folder.CONFIG_FILE
    if not path.is_file():
        raise WeightsError(f"{repository}: it has no {path.name}, so it is not a weights folder of ccnet-core.")
    if not _remove_damaged([path]):
        require(repository, folder)


def _require_weights(_: str, folder: Path) -> None:
    weights_folder.read_config(folder, CCNetConfig)


def _remove_damaged(files: Iterable[Path]) -> list[str]:
    """Remove files of the client's cache that differ from their digest, and return what is wrong with each.

    The client gives them as links to blobs whose names are digests: SHA-256 for files in LFS, git's SHA-1 for the
    others (`huggingface_hub.hf_hub_url`, Notes).
    """
    return [wrong for file in files if file.is_symlink() and file.is_file() and (wrong := _remove_if_damaged(file))]


def _remove_if_damaged(file: Path) -> str:
    blob = file.parent / file.readlink()
    try:
        found = _digest(file, len(blob.name))
        if found in (None, blob.name):
            return ""
        for path in (file.resolve(), blob, file):  # the blob may be a link too, into a store for all repositories
            path.unlink(missing_ok=True)
    except OSError as error:
        message = f"{file}: cannot be read, or is damaged and cannot be removed ({error.strerror})."
        raise WeightsError(f"{message} Remove it, or give another cache_dir.") from error
    wrong = f"{file.name} has the digest {found[:8]}..., not {blob.name[:8]}..."
    logger.warning("%s: damaged, and removed: %s.", file.parent, wrong)
    return wrong


def _digest(file: Path, length: int) -> str | None:
    """Return the hexadecimal digest that is `length` digits long; a mirror may name its blobs by something else."""
    if length not in (40, 64):
        return None
    header = b"blob %d\0" % file.stat().st_size
    with file.open("rb") as stream:
        start = hashlib.sha256 if length == 64 else partial(hashlib.sha1, header, usedforsecurity=False)
        return hashlib.file_digest(stream, start).hexdigest()
