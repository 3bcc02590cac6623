import io
import sys

import pytest

from ccnet_core import bar as module
from ccnet_core.bar import bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    def show(stream, total, steps, **options):
        monkeypatch.setattr(sys, "stderr", stream)
        with bar(total, "predict", **options) as progress:
            for _ in range(steps):
                progress.update()
        return stream.getvalue()

    return show


def test_a_terminal_shows_count_rate_and_time_left(shown, monkeypatch):
    last = shown(Terminal(), 3, 3).split("\r")[-1]
    assert "predict: 100%" in last
    assert "3/3 [" in last
    assert " pictures/s]" in last


def test_without_a_total_there_is_a_count(shown):
    assert "2/? [" in shown(Terminal(), None, 2, unit="frames").split("\r")[-1]


def test_a_short_run_says_nothing_in_a_file(shown):
    assert shown(io.StringIO(), 3, 3) == ""


def test_a_long_run_says_lines_in_a_file(shown, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0)
    text = shown(io.StringIO(), 3, 3)
    assert [line.partition(" [")[0] for line in text.splitlines()] == [f"predict: {n}/3" for n in range(4)]
    assert "\r" not in text


def test_nothing_is_shown_where_nobody_looks(shown):
    assert shown(Terminal(), 3, 3, show=False) == ""
