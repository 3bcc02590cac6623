"""The text of recipes and of `key=value` overrides to plain data, whose nested keys have dots."""

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from ccnet_train.errors import RecipeError


def parse(text: str, where: str) -> Any:
    """Return the YAML `text` as plain data. Raises RecipeError, naming `where`, for bad YAML and repeated keys."""
    try:
        return yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        raise RecipeError(f"{where}: not valid YAML: {_reason(error)}") from error


def override(mapping: dict[str, Any], text: str, text_keys: Collection[str] = ()) -> None:
    """Set in `mapping` what `text`, such as "train.iterations=10", says.

    The value is read as YAML; that of one of `text_keys` is taken as it stands, because YAML would cut a folder's name
    at " #". There, too, "null" and nothing at all mean None.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"{text!r} is not an override. Write key=value, for example train.iterations=10.")
    *sections, last = key.split(".")
    for section in sections:
        if mapping.get(section) is None:
            mapping[section] = {}
        mapping = mapping[section]
        if not isinstance(mapping, dict):
            raise RecipeError(f"{text!r}: {section!r} holds the value {mapping!r}, not keys.")
    literal = key in text_keys and value not in ("", "null")
    mapping[last] = value if literal else parse(value, text)


def flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of nested mappings by their keys with dots, as :func:`override` takes them."""
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        inner = (
            {f"{key}.{name}": held for name, held in flat(value).items()}
            if isinstance(value, Mapping)
            else {key: value}
        )
        found |= inner
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


class _UniqueKeys(yaml.SafeLoader):
    """YAML without repeated keys: plain PyYAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: repeated key {', '.join(repeated)}")
        return dict(super().construct_mapping(node, deep))
