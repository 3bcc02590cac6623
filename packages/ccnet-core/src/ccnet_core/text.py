"""Names that come from outside, made safe for a line of text and for Markdown."""

import re

NOT_IN_A_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
"""White space, control characters, and halves of surrogate pairs, which UTF-8 cannot hold."""

MARKUP = re.compile(r"[\\`*\[\]<>&#|~$!]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|@")
"""What Markdown, its tables, its bare links or the formulas of the Hub would read; not the "_" inside a word."""


def one_line(text: str) -> str:
    """Return `text` in one line, without control characters; "unnamed" if nothing is left."""
    return NOT_IN_A_LINE.sub(" ", text).strip() or "unnamed"


def markdown(text: str) -> str:
    """Return Markdown that shows `text` as it is, in one line, in a table too."""
    return MARKUP.sub(r"\\\g<0>", one_line(text))
