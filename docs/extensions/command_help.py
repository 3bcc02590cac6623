"""The directive `command-help`: what a command of these distributions prints for `--help`, asked for at every build."""

import contextlib
import io
import os
from importlib.metadata import entry_points
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH = "80"


class CommandHelp(SphinxDirective):
    """`command-help` with the words of a command, such as `ccnet predict`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the help text as a block of code."""
        try:
            text = help_text(self.arguments[0])
        except (ValueError, RuntimeError) as error:
            raise self.error(str(error)) from error
        return [nodes.literal_block(text, text, language="text")]


def help_text(command: str) -> str:
    """Return what `command --help` prints on a terminal of 80 columns; RuntimeError where it fails."""
    script, *words = command.split()
    (entry_point,) = entry_points(group="console_scripts", name=script)
    main = entry_point.load()
    printed, complaint = io.StringIO(), io.StringIO()
    plain = mock.patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"})
    with plain, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaint):
        try:
            main([*words, "--help"])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{command}: {complaint.getvalue().strip()}") from end
    return printed.getvalue()


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
