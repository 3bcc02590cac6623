import sys

import numpy as np
import pytest

from ccnet_data.texts import Texts

NAMES = ["", "a", "straße", "b\nc", "", "\udcff", "道路.png"]


def test_texts_come_back_in_order():
    assert list(Texts(NAMES)) == NAMES
    assert [Texts(NAMES)[-1], Texts(NAMES)[np.int64(2)]] == ["道路.png", "straße"]


def test_no_texts_are_an_empty_sequence():
    assert len(Texts([])) == 0
    assert list(Texts([])) == []


def test_a_slice_is_texts_again():
    assert list(Texts(NAMES)[1:6:2]) == ["a", "b\nc", "\udcff"]


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match=f"index {index} is outside"):
        Texts(["a", "b"])[index]


def test_a_name_of_20_characters_takes_29_bytes():
    texts = Texts(f"{number:020d}" for number in range(1000))
    assert sys.getsizeof(texts._joined) + texts._ends.nbytes < 29 * 1000 + 200
