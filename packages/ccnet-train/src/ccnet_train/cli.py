"""The command `ccnet-train`, also `accelerate launch -m ccnet_train`."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ccnet_core.errors import CCNetError
from ccnet_train.commands import compare, evaluate, fit, predict, recipes
from ccnet_train.commands.arguments import is_main_process
from ccnet_train.errors import ProcessError, Terminated, TrainError

EXIT_CODES = (
    "exit codes: 0 done; 2 a mistake, in one line that says what to do; 130 after Ctrl-C and 143 after SIGTERM: "
    "`fit` has then finished its step and saved, and the same command continues; 1 some pictures of `predict` failed."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; :data:`EXIT_CODES` says what it means."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code: int = options.run(options) or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ProcessError as error:
        # On a line of its own: the bar of the main process may stand there.
        print(f"\nerror (process {os.environ.get('RANK', '0')}): {error}", file=sys.stderr)
        return 2
    except (TrainError, CCNetError, OSError) as error:
        # Every process raises it, so one per machine tells.
        if os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as reason:
        if is_main_process():
            print(f"\nstopped.{options.how_to_continue(options)}", file=sys.stderr)
        return reason.code if isinstance(reason, Terminated) else 130
    return code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ccnet-train", description="Train and evaluate CCNet.", epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"ccnet-train {version('ccnet-train')}")
    parser.set_defaults(how_to_continue=lambda _: "")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit.add(commands, epilog=EXIT_CODES)
    for command in (evaluate, predict, compare, recipes):
        command.add(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse stops collecting key=value at the first option; they may also stand after it.
    misplaced = [word for word in rest if word.startswith("-") or "overrides" not in options]
    if misplaced:
        parser.error(f"unrecognized arguments: {' '.join(misplaced)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options
