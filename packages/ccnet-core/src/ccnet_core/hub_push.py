"""A weights folder to the Hugging Face Hub, through its own client."""

from pathlib import Path
from typing import TYPE_CHECKING

from ccnet_core import hub, weights_folder
from ccnet_core.errors import CCNetError, WeightsError
from ccnet_core.hub_errors import explain

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def push_folder(
    folder: Path,
    repository: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    private: bool | None = None,
    commit_message: str | None = None,
) -> str:
    """Make `repository` on the Hub hold the weights folder `folder`, in one commit, and return its web address.

    Repository and branch `revision` are made if they are missing; `private` is for a new repository, and must be true
    of one that is there. Files of an older weights folder that are not in this one are deleted, anything else there is
    left alone. Raises WeightsError, with what to do; the branch then never holds half a folder.
    """
    require_place(repository, token)
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        return _commit_folder(api, folder, repository, revision, private, commit_message or "Weights of ccnet-core")
    except CCNetError:
        raise
    except Exception as error:
        raise WeightsError(f"{repository}: not pushed: {explain(error)}.") from error


def require_place(repository: str, token: str | None) -> None:
    """Raise WeightsError for what is no name on the Hub or no token, before a folder is written for it."""
    if not isinstance(repository, str) or not hub.is_repository(repository):
        raise WeightsError(f"{repository}: expected a Hub name of the form org/name.")
    hub.require_token(token)


def require_ready(repository: str, token: str | None = None) -> None:
    """Raise WeightsError for what would stop a push whatever the Hub answers: a wrong name, offline mode, no token.

    It asks no server, so that a program can know it hours before it pushes.
    """
    require_place(repository, token)
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled
    except (HFValidationError, OfflineModeIsEnabled) as error:
        raise WeightsError(f"{repository}: cannot be pushed to: {explain(error)}.") from error
    if token is None and get_token() is None:
        raise WeightsError(f"{repository}: cannot be pushed to without a token. Log in with `hf auth login`.")


def _commit_folder(
    api: "HfApi", folder: Path, repository: str, revision: str | None, private: bool | None, message: str
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    before = api.model_info(repository, revision=revision, timeout=hub.TIMEOUT)
    if private is not None and bool(before.private) != private:
        is_, asked = ("private", "public") if before.private else ("public", "private")
        raise WeightsError(f"{repository}: it is {is_} already, and {asked} was asked for. Change that on its page.")
    new = sorted(file.name for file in folder.iterdir())
    old = [sibling.rfilename for sibling in before.siblings or []]
    stale = [name for name in old if weights_folder.is_part(name) and name not in new]
    commit = api.create_commit(
        repository,
        [*map(CommitOperationDelete, stale), *(CommitOperationAdd(name, folder / name) for name in new)],
        commit_message=message,
        revision=revision,
        parent_commit=before.sha,  # refused if another commit came in between, of which `stale` knows nothing
    )
    return commit.commit_url
