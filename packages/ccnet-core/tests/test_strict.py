from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from ccnet_core.errors import ConfigError
from ccnet_core.strict import from_mapping, read_json, to_mapping


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


def test_json_file_is_plain_data(tmp_path):
    (tmp_path / "file").write_text('{"ä": [1, 2.5, null, {}]}', "utf-8")
    assert read_json(tmp_path / "file") == {"ä": [1, 2.5, None, {}]}
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "other")


DISTINCT = b", ".join(b'"%d": 0' % number for number in range(200_000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{half", "Expecting property name"),
        (b'"\xff"', "can't decode byte 0xff"),
        (b'{"b": {"a": 1, "a": 1}}', "the key 'a' is there twice"),
        (b"{%s, %s}" % (DISTINCT, b'"199999": 0'), "the key '199999' is there twice"),
        (b"[" * 100_000, "recursion"),
        (b" " * 2**22 + b"{}", "more than 4194304 bytes"),
    ],
)
def test_wrong_json_file_is_named(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"/file: cannot be read \(.*{message}"):
        read_json(tmp_path / "file")


def test_folder_in_place_of_a_json_file_raises_the_callers_error(tmp_path):
    with pytest.raises(KeyError, match="cannot be read"):
        read_json(tmp_path, error=KeyError)
