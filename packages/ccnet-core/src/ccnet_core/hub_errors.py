"""What the errors of the Hub's client mean for a user, and what to do about them."""

from collections.abc import Iterator

LOG_IN = "log in with `hf auth login`, or give a token"

NOT_A_HUB = "what answered is not a Hub ({reason}). Check the proxy and HF_ENDPOINT"

SENTENCES: dict[str | int, str] = {
    "GatedRepoError": "its authors ask for terms to be accepted. Accept them on its page on the Hub, then " + LOG_IN,
    "RepositoryNotFoundError": "no such repository, or a private one. Check the name; if it is private, " + LOG_IN,
    "RevisionNotFoundError": "it has no such revision",
    "IncompleteSnapshotError": "its copy in the cache is incomplete. Load it once with a network, to fetch the rest",
    "LocalEntryNotFoundError": "not in the cache, and nothing may be fetched (local_files_only, HF_HUB_OFFLINE)",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set. Unset it",
    "HFValidationError": "the Hub does not allow such a name: {reason}",
    "FileMetadataError": NOT_A_HUB,
    "JSONDecodeError": NOT_A_HUB,
    "UnicodeDecodeError": NOT_A_HUB,
    401: "the Hub did not accept who you are. Check your token, or " + LOG_IN,
    403: "your token does not have the right to do this ({reason}). Ask its owners, or give another token",
    404: "the Hub does not have it ({reason})",
    409: "somebody else is changing the repository. Try again",
    412: "somebody else pushed at the same time. Push again",
    429: "the Hub has had too many requests from you. Wait some minutes; it allows more of them to who is logged in",
    500: "the Hub has a fault of its own ({reason}). Try again later",
    "HfHubHTTPError": "the Hub refused ({reason})",
    "TimeoutException": "the Hub did not answer in time. Check the network, or try again later",
    "TransportError": "the connection to the Hub failed ({reason}). Check the network, the proxy and HF_ENDPOINT",
    "OSError": "the cache cannot be written ({reason}). Make room, or give another cache_dir",
}
"""A class of error, or an HTTP status (500 for all from 500 on), to what it means.

Classes stand here by name: importing them takes longer than the rest of core, and the client's HTTP library, from which
some of them are, has had two names.
"""

WRAPPERS = ("LocalEntryNotFoundError", "RuntimeError")
"""Errors that the client puts around one that says more, when it has one."""


def explain(error: BaseException) -> str:
    """Return in one line, without a full stop, what `error` of the Hub's client means and what to do."""
    while type(error).__name__ in WRAPPERS and error.__cause__ is not None:
        error = error.__cause__
    sentence = next((SENTENCES[key] for key in _keys(error) if key in SENTENCES), "{reason}")
    return sentence.format(reason=_reason(error))


def _keys(error: BaseException) -> Iterator[str | int]:
    """Give the keys of `SENTENCES` that may fit, the most telling first."""
    for kind in type(error).__mro__:
        if kind.__name__ == "HfHubHTTPError":
            status: int = error.response.status_code  # type: ignore[attr-defined]
            yield from (status, status // 100 * 100)
        if kind is not OSError or getattr(error, "errno", None):  # the client also raises it for what is none
            yield kind.__name__


def _reason(error: BaseException) -> str:
    said = getattr(error, "server_message", None) or getattr(error, "strerror", None) or str(error).strip()
    return (said or type(error).__name__).splitlines()[0].rstrip(".")
