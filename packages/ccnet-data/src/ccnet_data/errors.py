"""The errors of ccnet_data. Every message names what was wrong, where, and what to do."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class DataError(ValueError):
    """A dataset, an option, a file or a sample is wrong; the text says which and how to mend it."""


class FetchError(DataError):
    """A file cannot be fetched, or not be kept. Its samples are not damaged, so no others may stand in for them."""


class SizeMismatchError(DataError):
    """A picture and its label differ in height or width."""


class OutsideClassesError(DataError):
    """A label holds values, or colours, that are no class."""


@contextmanager
def reading(place: Path | None = None) -> Iterator[None]:
    """Raise what the system refuses as DataError, with the file or folder it names, or `place`, and what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{place or error.filename}: cannot be read ({error.strerror}); check that it exists and its permissions."
        ) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with up to three names close to `name`, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f" Did you mean {' or '.join(repr(match) for match in close)}?"
    return f" Known: {', '.join(names) or 'none'}."


def enumerate_some(items: Iterable[object], limit: int = 5, separator: str = ", ") -> str:
    """Return the first `limit` items with `separator` between them, and how many more there are."""
    texts = [str(item) for item in items]
    shown = separator.join(texts[:limit])
    return shown if len(texts) <= limit else f"{shown} and {len(texts) - limit} more"
