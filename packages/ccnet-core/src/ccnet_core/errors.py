"""The errors of ccnet_core. Every message names what was wrong, where, and what to do."""

import difflib
from collections.abc import Iterable

LONGEST_MESSAGE = 1500


class CCNetError(ValueError):
    """Base of all errors that ccnet_core raises on purpose."""

    def __init__(self, message: str) -> None:
        # What a file holds may be of any length. The beginning of a message says where, the end what to do.
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[: LONGEST_MESSAGE - 500]} ... {message[-500:]}"
        super().__init__(message)


class ConfigError(CCNetError):
    """A model name, a configuration key or a configuration value is wrong."""


class WeightsError(CCNetError):
    """A weights folder or file is missing, damaged or of another network."""


class OtherKindError(WeightsError):
    """A weights folder holds a network of another kind, `model_type`, than the one asked for."""

    def __init__(self, message: str, model_type: str) -> None:
        super().__init__(message)
        self.model_type = model_type


class PictureError(CCNetError):
    """A picture cannot be read or has the wrong shape or type."""


class AttentionError(CCNetError):
    """An attention backend was asked for by name and cannot serve the call."""


class ExportError(CCNetError):
    """A network cannot be written in the form asked for, or what was written does not answer as it does."""


class OptimizedError(CCNetError):
    """An optimized network was asked for what it cannot do, or its answers differ from the network's."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with up to three names that begin with `name` or are close to it, or all known."""
    names = sorted(known)
    begun = [known for known in names if name and known.startswith(name)][:3]
    close = begun or difflib.get_close_matches(name[:100], names, n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(repr(match) for match in close)}?"
    return f" Known: {', '.join(names)}."
