import pytest

from ccnet_data.errors import DataError, enumerate_some, nearest, reading


def test_a_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


def test_nearest_offers_names_that_are_close():
    assert nearest("lenght", ["length", "size", "seed"]) == " Did you mean 'length'?"


def test_nearest_lists_all_names_when_none_is_close():
    assert nearest("xyz", ["size", "length"]) == " Known: length, size."


def test_nearest_says_so_when_there_are_no_names():
    assert nearest("xyz", []) == " Known: none."


def test_enumerate_some_counts_what_it_leaves_out():
    assert enumerate_some(range(3), limit=3) == "0, 1, 2"
    assert enumerate_some(range(5), limit=3) == "0, 1, 2 and 2 more"


def test_what_the_system_refuses_is_named_with_its_remedy(tmp_path):
    with (
        pytest.raises(DataError, match=r"none\.txt: cannot be read \(No such file.*\); check that it exists"),
        reading(),
    ):
        (tmp_path / "none.txt").read_bytes()
    with pytest.raises(DataError, match=r"^place: cannot be read"), reading("place"):
        (tmp_path / "none.txt").read_bytes()
