import argparse

import pytest

from ccnet_core.commands.options import pair


def test_a_pair_is_two_whole_numbers():
    assert pair("512,1024") == (512, 1024)


@pytest.mark.parametrize("text", ["512", "1,2,3", "a,b", "1.5,2", ""])
def test_anything_else_is_no_pair(text):
    with pytest.raises(argparse.ArgumentTypeError, match="two whole numbers with a comma between"):
        pair(text)
