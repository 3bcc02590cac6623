"""Options as frozen dataclasses whose fields know how to read, and refuse, what a user typed."""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

from .errors import DataError, nearest

Reader = Callable[[Any], Any]
"""Returns a value in its declared type, or raises DataError with "must be ..., got ..."."""

T = TypeVar("T", bound="Options")


class Fault(NamedTuple):
    """What is wrong with the option `option`: one full sentence in `text`."""

    option: str
    text: str


class Option(NamedTuple):
    """What the annotation of a field says besides its type: how to read a value, and what the option means.

    A field with the default None also takes None, which means "not given".
    """

    read: Reader
    meaning: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all option dataclasses. Building one reads every field and raises DataError with all faults at once."""

    def __post_init__(self) -> None:
        given = {declared.name: getattr(self, declared.name) for declared in dataclasses.fields(self)}
        values, faults = read_options(type(self), given)
        raise_faults(faults)
        for name, value in values.items():
            object.__setattr__(self, name, value)


def read_options(kind: type[Options], given: Mapping[str, object]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the options in `given` that are right, read into their types, and a fault for each of the others."""
    declared = _declared(kind)
    values: dict[str, Any] = {}
    faults = []
    for name, value in given.items():
        if name not in declared:
            faults.append(Fault(str(name), f"Unknown option {name!r}.{nearest(str(name), declared)}"))
        elif value is None and getattr(kind, name) is None:
            values[name] = None
        else:
            try:
                values[name] = declared[name].read(value)
            except DataError as fault:
                faults.append(Fault(name, f"{name} {fault}"))
    return values, faults


def build(kind: type[T], given: Mapping[str, object]) -> T:
    """Return `kind` made of the options in `given`. Raises DataError with all faults, unknown names included."""
    values, faults = read_options(kind, given)
    raise_faults(faults)
    return kind(**values)


def raise_faults(faults: Iterable[Fault], subject: str = "") -> None:
    """Raise one DataError that starts with `subject` and lists all `faults`; return if there is none."""
    texts = [fault.text for fault in faults]
    if texts:
        raise DataError(" ".join([subject, *texts] if subject else texts))


def describe(kind: type[Options]) -> list[tuple[str, str]]:
    """Return ("name=default", meaning) for every option of `kind`, the default as on a command line."""
    return [(name + _default(getattr(kind, name)), declared.meaning) for name, declared in _declared(kind).items()]


def whole_number(low: int, high: int) -> Reader:
    """Read an int in [low, high]."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise DataError(f"must be a whole number from {low} to {high}, got {value!r}.")
        return value

    return read


def number(low: float, high: float) -> Reader:
    """Read an int or a float in [low, high] as a float."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise DataError(f"must be a number from {low:g} to {high:g}, got {value!r}.")
        return float(value)

    return read


def switch(value: object) -> bool:
    """Read True or False."""
    if not isinstance(value, bool):
        raise DataError(f"must be true or false, got {value!r}.")
    return value


def one_of(*choices: str) -> Reader:
    """Read one of the texts `choices`."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise DataError(f"must be one of {', '.join(choices)}, got {value!r}.")
        return value

    return read


def text(value: object) -> str:
    """Read a string with at least one character that is not a space."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"must be a text that is not empty, got {value!r}.")
    return value


def path(value: object) -> Path:
    """Read a file or folder name; "~" is the user's home folder."""
    if not isinstance(value, str | os.PathLike) or not str(value).strip():
        raise DataError(f"must be the name of a file or folder, got {value!r}.")
    return Path(value).expanduser()


def byte_count(value: object) -> int:
    """Read a number of bytes: a whole number, or a text such as "200GB" with B, kB, MB, GB or TB (of 1000)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(|k|M|G|T)B?", str(value), re.IGNORECASE)
    if isinstance(value, bool) or found is None or float(found[1]) == 0:
        raise DataError(f'must be a number of bytes, such as "32GB", got {value!r}.')
    return int(float(found[1]) * 1000 ** ("", "K", "M", "G", "T").index(found[2].upper()))


def several(read: Reader, count: int | None = None) -> Reader:
    """Read a list of values that `read` accepts, `count` of them when given, as a tuple."""
    expected = "a list" if count is None else f"a list of {count} values"

    def read_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or count not in (None, len(value)):
            one = (
                f" A list of one is written [{json.dumps(value)}]." if isinstance(value, str) and count is None else ""
            )
            raise DataError(f"must be {expected}, got {value!r}.{one}")
        return tuple(read(entry) for entry in value)

    return read_all


def one_or_several(read: Reader) -> Reader:
    """Read one value, or a list of at least one, that `read` accepts; always as a tuple."""
    read_list = several(read)

    def read_all(value: object) -> tuple[Any, ...]:
        values: tuple[Any, ...] = read_list(value if isinstance(value, list | tuple) else [value])
        if not values:
            raise DataError(f"must be one value or a list of them, got {value!r}.")
        return values

    return read_all


def _default(value: object) -> str:
    if value is None:
        return ""
    return f"={value if isinstance(value, str) else json.dumps(value)}"


def _declared(kind: type[Options]) -> dict[str, Option]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in dataclasses.fields(kind)}
