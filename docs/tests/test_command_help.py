"""The page of the command line shows every command, with what the command itself prints."""

import re
from pathlib import Path

import pytest
from command_help import help_text

PAGE = (Path(__file__).resolve().parents[1] / "commands.md").read_text("utf-8")
SHOWN = re.findall(r"^```\{command-help\} (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("script", ["ccnet", "ccnet-data", "ccnet-train"])
def test_page_shows_every_command_of_a_script(script):
    listed = re.findall(r"^    ([a-z-]+)", help_text(script), re.MULTILINE)
    assert len(listed) >= 5
    assert [script, *(f"{script} {name}" for name in listed)] == [
        words for words in SHOWN if words.split()[0] == script
    ]


def test_help_is_that_of_the_command():
    assert help_text("ccnet predict").startswith("usage: ccnet predict ")


def test_unknown_command_is_an_error_that_names_it():
    with pytest.raises(RuntimeError, match=r"(?s)ccnet paint: .*invalid choice: 'paint'"):
        help_text("ccnet paint")
