from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from ccnet_data.errors import DataError
from ccnet_data.option_text import parse_options
from ccnet_data.options import (
    Fault,
    Option,
    Options,
    build,
    byte_count,
    describe,
    number,
    one_or_several,
    path,
    raise_faults,
    read_options,
    several,
    switch,
    text,
    whole_number,
)


@dataclass(frozen=True, kw_only=True)
class Paint(Options):
    layers: Annotated[int, Option(whole_number(1, 9), "coats of paint")] = 2
    name: Annotated[str | None, Option(text, "of the colour")] = None
    glossy: Annotated[bool, Option(switch, "whether it shines")] = False
    finish: Annotated[str, Option(text, "how it dries")] = "quickly"
    drying: Annotated[tuple[int, ...], Option(several(whole_number(0, 9)), "hours after each layer")] = ()


def test_building_reads_every_value():
    assert Paint(layers=3, name="red") == build(Paint, {"layers": 3, "name": "red"})


def test_none_means_not_given_only_where_it_is_the_default():
    assert Paint(name=None).name is None
    with pytest.raises(DataError, match="layers must be a whole number"):
        Paint(layers=None)


def test_building_lists_every_fault_at_once():
    with pytest.raises(DataError) as raised:
        Paint(layers=0, name="")
    assert "layers must be a whole number from 1 to 9, got 0." in str(raised.value)
    assert "name must be a text" in str(raised.value)


def test_an_unknown_option_is_named_with_the_nearest():
    with pytest.raises(DataError, match=r"Unknown option 'layer'. Did you mean 'layers'\?"):
        build(Paint, {"layer": 3})


def test_reading_keeps_the_right_values_beside_the_faults():
    values, faults = read_options(Paint, {"layers": 4, "name": 5})
    assert values == {"layers": 4}
    assert [fault.option for fault in faults] == ["name"]


def test_raise_faults_does_nothing_without_faults():
    raise_faults([], "Cannot paint:")


def test_raise_faults_starts_with_the_subject():
    with pytest.raises(DataError, match=r"^Cannot paint: No brush\. No paint\.$"):
        raise_faults([Fault("brush", "No brush."), Fault("paint", "No paint.")], "Cannot paint:")


def test_describe_gives_meanings_and_defaults_as_they_are_typed():
    assert describe(Paint) == [
        ("layers=2", "coats of paint"),
        ("name", "of the colour"),
        ("glossy=false", "whether it shines"),
        ("finish=quickly", "how it dries"),
        ("drying=[]", "hours after each layer"),
    ]


def test_a_described_default_can_be_given():
    given = parse_options([usage for usage, _ in describe(Paint) if "=" in usage])
    assert build(Paint, given) == Paint()


def test_a_text_in_place_of_a_list_says_how_a_list_of_one_is_written():
    with pytest.raises(DataError, match=r"""must be a list, got 'road'\. A list of one is written \["road"\]\."""):
        several(text)("road")


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (whole_number(0, 5), 5, 5),
        (number(0, 1), 1, 1.0),
        (switch, False, False),
        (text, "sky", "sky"),
        (path, "a/b", Path("a/b")),
        (path, Path("a"), Path("a")),
        (path, "~/a", Path.home() / "a"),
        (several(text), ["a", "b"], ("a", "b")),
        (several(text, count=1), ("a",), ("a",)),
        (one_or_several(text), "a", ("a",)),
        (one_or_several(text), ["a", "b"], ("a", "b")),
    ],
)
def test_readers_return_the_declared_type(read, value, expected):
    result = read(value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (whole_number(0, 5), 6),
        (whole_number(0, 5), "3"),
        (whole_number(0, 5), True),
        (whole_number(0, 5), 2.0),
        (number(0, 1), 1.01),
        (number(0, 1), float("nan")),
        (number(0, 1), "0.5"),
        (number(0, 1), True),
        (switch, 1),
        (text, " "),
        (text, 3),
        (path, ""),
        (path, 3),
        (several(text), "abc"),
        (several(text), ["a", 3]),
        (several(text, count=2), ["a"]),
        (one_or_several(text), 3),
        (one_or_several(text), []),
        (byte_count, "32 GiB"),
        (byte_count, "many"),
        (byte_count, -1),
        (byte_count, 0),
        (byte_count, True),
    ],
)
def test_readers_refuse_other_values_and_show_them(read, value):
    with pytest.raises(DataError, match=r"must be .*, got "):
        read(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1), ("1", 1), ("20B", 20), ("1.5kB", 1500), ("3 mb", 3 * 10**6), ("32GB", 32 * 10**9), ("2T", 2 * 10**12)],
)
def test_bytes_are_counted_in_thousands(value, expected):
    assert byte_count(value) == expected
