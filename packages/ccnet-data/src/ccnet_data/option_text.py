"""Options of a dataset as words of a command line: key=value."""

import json
from collections.abc import Sequence

from .errors import DataError


def parse_options(pairs: Sequence[str]) -> dict[str, object]:
    """Return {key: value} of texts such as "length=20" or "classes=road,sky"."""
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DataError(f"An option is written key=value, got {pair!r}.")
        if key in options:
            raise DataError(f"Option {key!r} is given twice.")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> object:
    """Return `text` as JSON if it is JSON, else as a list of texts if it has commas, else as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.split(",") if "," in text else text
