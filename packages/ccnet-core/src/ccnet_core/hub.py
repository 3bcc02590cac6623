"""Weights folders on the Hugging Face Hub, through its own client."""

from pathlib import Path

from ccnet_core.errors import WeightsError
from ccnet_core.weights_folder import FILES


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
