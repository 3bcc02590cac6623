"""The command `ccnet`: its commands, and what an error means for the exit code."""

import argparse
import os
import sys
from collections.abc import Sequence

from ccnet_core import __version__
from ccnet_core.commands import attend, convert, demo, doctor, export, models, predict, predict_large
from ccnet_core.errors import CCNetError

COMMANDS = (predict, predict_large, attend, demo, convert, export, models, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    A mistake of the user is one line on stderr and exit code 2; a command may return another code of its own. After
    Ctrl-C it is 130.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        print(
            "error: not enough memory here for this network or picture. Take a smaller one; predict: --batch 1.",
            file=sys.stderr,
        )
        return 2
    except (CCNetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ccnet", description="Semantic segmentation with criss-cross attention.")
    parser.add_argument("--version", action="version", version=f"ccnet-core {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
