import numpy as np
import pytest

from ccnet_data.sample import API_VERSION, IGNORE_INDEX, position


def test_the_contract_has_the_numbers_that_readers_rely_on():
    assert (API_VERSION, IGNORE_INDEX) == (1, 255)


@pytest.mark.parametrize(("index", "expected"), [(0, 0), (4, 4), (-1, 4), (-5, 0), (np.int64(3), 3)])
def test_position_counts_from_either_end(index, expected):
    assert position(index, 5) == expected


@pytest.mark.parametrize("index", [5, -6])
def test_position_outside_is_an_index_error(index):
    with pytest.raises(IndexError, match=r"outside a dataset of 5 samples"):
        position(index, 5)


def test_position_refuses_a_fraction():
    with pytest.raises(TypeError):
        position(1.0, 5)
