import re

import pytest

from ccnet_core.text import markdown, one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traffic light", "traffic light"),
        ("  a\nb\r\n\tc ", "a b c"),
        ("a\x00b\x1b[31m", "a b [31m"),
        ("a\u2028b\x85c", "a b c"),
        ("a\ud800b", "a b"),
        (" \x07", "unnamed"),
        ("Straße, 道路, नदी\u200d", "Straße, 道路, नदी\u200d"),
    ],
)
def test_text_is_one_line_that_utf8_can_hold(text, expected):
    assert one_line(text) == expected
    one_line(text).encode()


def test_words_stay_as_they_are():
    for text in ("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024", "tv/monitor", "sky: blue", "1. class", "-"):
        assert markdown(text) == text


@pytest.mark.parametrize("mark", list("\\`*[]<>&#|~$!@"))
def test_markup_is_escaped(mark):
    assert markdown(f"a{mark}b") == f"a\\{mark}b"


def test_underscores_are_escaped_where_they_would_mean_emphasis():
    assert markdown("_a_b__c_") == r"\_a_b\_\_c\_"


@pytest.mark.parametrize("link", ["https://a.example", "www.a.example"])
def test_bare_links_are_broken(link):
    assert re.search(r"\\[:.]", markdown(link))
