"""Plain data (YAML, JSON) to frozen dataclasses and back, with errors that name the key.

Used for `config.json`, the zoo and the trainer's recipes. Supported field types: bool, int, float, str, Any, Literal,
`X | None`, `tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `dict[str, X]`, other dataclasses and unions of them: the one
with most of the keys is meant.
"""

import contextlib
import dataclasses
import json
import math
import types
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ccnet_core.errors import CCNetError, ConfigError, nearest

T = TypeVar("T")

LARGEST_JSON = 2**22
"""Bytes. What Python makes of a file takes up to twenty times as much memory."""


def read_json(path: Path, *, error: type[Exception] = ConfigError) -> Any:
    """Return the plain data of a JSON file.

    Raises FileNotFoundError if there is no such file, and `error`, which names it, if it cannot be read, is larger than
    `LARGEST_JSON`, not JSON in UTF-8, or has a key twice.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON} bytes")
        return json.loads(content.decode("utf-8"), object_pairs_hook=_distinct)
    except FileNotFoundError:
        raise
    except PermissionError as fault:
        raise error(f"{path}: may not be read. Check its permissions.") from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise error(f"{path}: cannot be read ({fault}). Save or download it again.") from fault


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r} is there twice")
    return mapping


def from_mapping(cls: type[T], mapping: object, *, where: str, error: type[Exception] = ConfigError) -> T:
    """Build the dataclass `cls` from `mapping`.

    `where` names the file or object in messages. Raises `error` for an unknown key (with the nearest known one), a
    missing key or a value of the wrong type.
    """
    if not isinstance(mapping, Mapping):
        raise error(f"{where}: expected keys and values, got {mapping!r}.")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise error(f"{where}: unknown key {key!r}.{nearest(str(key), fields)}")
    for name, field in fields.items():
        if name not in mapping and _has_no_default(field):
            raise error(f"{where}: the key {name!r} is missing.")
    hints = get_type_hints(cls)
    values = {key: _convert(hints[key], value, f"{where}: {key}", error) for key, value in mapping.items()}
    try:
        return cls(**values)
    except CCNetError as fault:
        raise error(f"{where}: {fault}") from None


def to_mapping(value: object) -> Any:
    """Return `value` as dicts, lists and scalars that YAML and JSON can hold."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_mapping(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_mapping(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_mapping(item) for item in value]
    return value


def _has_no_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: object, where: str, error: type[Exception]) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where, error)
    if origin is Literal:
        if value not in arguments:
            raise error(f"{where}: {value!r} is not one of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, where, error)
    if origin is list:
        return [_convert(arguments[0], item, where, error) for item in _sequence(value, where, error)]
    if origin is dict or hint is dict:
        return _convert_dict(arguments, value, where, error)
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where=where, error=error)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where, error)


def _convert_union(arguments: tuple[Any, ...], value: object, where: str, error: type[Exception]) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [choice for choice in arguments if choice is not type(None)]
    if len(choices) == 1:
        return _convert(choices[0], value, where, error)
    if all(map(dataclasses.is_dataclass, choices)) and isinstance(value, Mapping):
        return _convert(_likest(choices, value), value, where, error)
    for choice in choices:
        try:
            return _convert(choice, value, where, error)
        except error:
            continue
    raise error(f"{where}: {value!r} is none of {', '.join(_name(choice) for choice in choices)}.")


def _likest(choices: list[Any], value: Mapping[str, Any]) -> Any:
    """Return the dataclass that has most of the keys, the first one of equals: its errors are about what was meant."""
    return max(choices, key=lambda choice: len({field.name for field in dataclasses.fields(choice)} & value.keys()))


def _convert_tuple(arguments: tuple[Any, ...], value: object, where: str, error: type[Exception]) -> tuple[Any, ...]:
    items = _sequence(value, where, error)
    if arguments[-1] is Ellipsis:
        return tuple(_convert(arguments[0], item, where, error) for item in items)
    if len(items) != len(arguments):
        raise error(f"{where}: expected {len(arguments)} values, got {len(items)}: {value!r}.")
    return tuple(_convert(hint, item, where, error) for hint, item in zip(arguments, items, strict=True))


def _convert_dict(arguments: tuple[Any, ...], value: object, where: str, error: type[Exception]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise error(f"{where}: expected keys and values, got {value!r}.")
    hint = arguments[1] if arguments else Any
    return {str(key): _convert(hint, item, f"{where}.{key}", error) for key, item in value.items()}


def _sequence(value: object, where: str, error: type[Exception]) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise error(f"{where}: expected a list, got {value!r}.")
    return list(value)


def _convert_scalar(hint: Any, value: object, where: str, error: type[Exception]) -> Any:
    if hint is float:
        return _convert_float(value, where, error)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise error(f"{where}: expected {_name(hint)}, got {value!r}.")
    return value


def _convert_float(value: object, where: str, error: type[Exception]) -> float:
    # YAML 1.1 reads 1e-3, without a point, as text.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            if math.isfinite(number := float(value)):
                return number
    raise error(f"{where}: expected a number, got {value!r}.")


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
