import pytest

from ccnet_data.errors import DataError
from ccnet_data.option_text import parse_options, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("true", True),
        ("road", "road"),
        ("road,sky", ["road", "sky"]),
        ('["a,b"]', ["a,b"]),
        ("", ""),
        ("data/a.parquet", "data/a.parquet"),
        ("[1", "[1"),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_json_or_lists_or_texts(text, value):
    assert parse_value(text) == value


def test_options_split_at_the_first_equals_sign():
    assert parse_options(["root=a=b", "size=3"]) == {"root": "a=b", "size": 3}


def test_an_option_given_twice_is_refused():
    with pytest.raises(DataError, match="'size' is given twice"):
        parse_options(["size=3", "size=4"])
