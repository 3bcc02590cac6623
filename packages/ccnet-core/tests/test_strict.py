from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ccnet_core.errors import ConfigError
from ccnet_core.strict import from_mapping, to_mapping


@dataclass(frozen=True, kw_only=True)
class Crop:
    size: tuple[int, int]
    mode: Literal["random", "centre"] = "random"


@dataclass(frozen=True, kw_only=True)
class Settings:
    rate: float
    name: str | None = None
    crop: Crop | None = None
    scales: tuple[float, ...] = (1.0,)
    weights: list[float] | str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 1
    flip: bool = False


def test_plain_data_becomes_a_dataclass_and_back():
    plain = {
        "rate": 1,
        "crop": {"size": [3, 4]},
        "scales": [0.5, 1],
        "weights": [1, 2.5],
        "options": {"a": [1, {"b": None}]},
    }
    settings = from_mapping(Settings, plain, where="test")
    assert settings == Settings(
        rate=1.0, crop=Crop(size=(3, 4)), scales=(0.5, 1.0), weights=[1.0, 2.5], options={"a": [1, {"b": None}]}
    )
    assert from_mapping(Settings, to_mapping(settings), where="test") == settings


def test_number_that_yaml_reads_as_text_is_a_number():
    assert from_mapping(Settings, {"rate": "1e-3"}, where="test").rate == 0.001


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"rate": ".nan"}, "test: rate: expected a number"),
        ({"rate": float("inf")}, "test: rate: expected a number, got inf"),
        ({"rate": 1, "stepz": 2}, r"test: unknown key 'stepz'\. Did you mean 'steps'"),
        ({}, "test: the key 'rate' is missing"),
        ([1], "expected keys and values"),
        ({"rate": "fast"}, "test: rate: expected a number, got 'fast'"),
        ({"rate": True}, "test: rate: expected a number, got True"),
        ({"rate": 1, "steps": 1.5}, "steps: expected a whole number, got 1.5"),
        ({"rate": 1, "steps": True}, "steps: expected a whole number, got True"),
        ({"rate": 1, "flip": 1}, "flip: expected true or false, got 1"),
        ({"rate": 1, "name": 3}, "name: expected text, got 3"),
        ({"rate": 1, "crop": {"size": [1]}}, r"test: crop: size: expected 2 values, got 1"),
        ({"rate": 1, "crop": {"size": [1, 2], "mode": "left"}}, "mode: 'left' is not one of 'random', 'centre'"),
        ({"rate": 1, "scales": 2}, "scales: expected a list, got 2"),
        ({"rate": 1, "weights": 3}, "weights: 3 is none of"),
        ({"rate": 1, "options": [1]}, "options: expected keys and values"),
    ],
)
def test_wrong_data_names_key_and_value(plain, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Settings, plain, where="test")


def test_the_callers_error_is_raised():
    with pytest.raises(KeyError):
        from_mapping(Settings, {}, where="test", error=KeyError)
