"""Signatures say NDArray[uint8] where typing spells out ndarray[tuple[Any, ...], dtype[uint8]]."""

import re

from sphinx.application import Sphinx

ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[(~?[\w.]+)\]\]")


def shorten(part: str | None) -> str | None:
    """Return a signature, or what it returns, with short names for arrays."""
    return part and ARRAY.sub(r"~numpy.typing.NDArray[\1]", part)


def on_signature(*event: object) -> tuple[str | None, ...]:
    """Shorten both parts of a signature, the last two things that autodoc says of one."""
    signature, returned = event[-2:]
    return tuple(shorten(part if isinstance(part, str) else None) for part in (signature, returned))


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to what autodoc finds."""
    app.connect("autodoc-process-signature", on_signature)
    return {"parallel_read_safe": True}
