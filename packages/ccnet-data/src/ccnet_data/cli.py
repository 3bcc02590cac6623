"""The command `ccnet-data`: its command line, its errors and its exit codes."""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from . import commands
from .errors import DataError
from .shards.manifest import ENCODINGS, PNG

Command = Callable[[argparse.Namespace], int | None]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}

WRONG_INPUT = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    It is 0, or 1 where `verify` found faults, 2 after one line "error: ..." on standard error, 130 when interrupted.
    """
    given = _parse(arguments)
    # A plain `kill` ends a command as Ctrl-C does: it takes its processes and half-written files with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command: Command = given.command
    code = None
    try:
        code = command(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain once more on closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (DataError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return code or 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    # argparse takes positional arguments in one run only, so options after --root would be unrecognized.
    parser = _parser()
    given, late = parser.parse_known_args(arguments)
    if late and ("options" not in given or any(word.startswith("-") for word in late)):
        parser.error(f"unrecognized arguments: {' '.join(late)}")
    if late:
        given.options = [*given.options, *late]
    return given


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ccnet-data", description="Semantic segmentation datasets: what they hold and how they look.")
    parser.add_argument("--version", action="version", version=f"ccnet-data {version('ccnet-data')}")
    rooms = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    listing = rooms.add_parser("list", help="the datasets and their options")
    listing.set_defaults(command=commands.list_datasets)
    _add_command(rooms, "info", commands.info, "facts, files, classes and colours of a dataset")
    _add_verify(rooms)
    stats = _add_command(
        rooms, "stats", commands.stats, "pixels, share, weight (share^-0.5) and pictures of each class"
    )
    _add_work_options(stats)
    preview = _add_command(rooms, "preview", commands.preview, "pictures beside their labels, as one PNG")
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="where the PNG goes")
    preview.add_argument("--count", type=_positive, default=8, metavar="N", help="samples to show (default 8)")
    preview.add_argument("--seed", type=_natural, metavar="N", help="choose them by chance; evenly spread without it")
    _add_convert(rooms)
    _add_prepare(rooms)
    return parser


def _add_convert(rooms: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _add_dataset_command(rooms, "convert", commands.convert_dataset, "shards of a dataset, to read or stream")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they go; a killed run goes on")
    parser.add_argument("--split", action="append", default=[], help="which split, may come again (default all)")
    parser.add_argument(
        "--encoding", choices=ENCODINGS, default=PNG, help="of pictures (default png); labels stay exact"
    )
    parser.add_argument("--quality", type=_quality, metavar="N", help="of jpeg, 1 to 100 (default 90)")
    parser.add_argument(
        "--shard-size", type=_size, default="256MB", metavar="SIZE", help="about how large, such as 1GB (default 256MB)"
    )
    _add_workers(parser)


def _add_prepare(rooms: "argparse._SubParsersAction[_Parser]") -> None:
    parser = rooms.add_parser("prepare", help="voc12aug: make SegmentationClassAug/ and aug.txt out of SBD")
    parser.set_defaults(command=commands.prepare)
    parser.add_argument("name", metavar="NAME", choices=["voc12aug"], help="voc12aug is the one there is")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of Pascal VOC 2012")
    parser.add_argument("--sbd", type=Path, required=True, metavar="DIR", help="unpacked benchmark.tgz of SBD")


def _add_command(
    rooms: "argparse._SubParsersAction[_Parser]", name: str, command: Command, help: str
) -> argparse.ArgumentParser:
    parser = _add_dataset_command(rooms, name, command, help)
    parser.add_argument("--split", default="train", help="which split (default train)")
    return parser


def _add_verify(rooms: "argparse._SubParsersAction[_Parser]") -> None:
    parser = _add_dataset_command(rooms, "verify", commands.verify_files, "faults of the files; exit code 1 for any")
    parser.add_argument("--split", action="append", default=[], help="which split, may come again (default all)")
    _add_work_options(parser)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=_natural, metavar="N", help="processes (default one per CPU; 0 for none more)"
    )


def _add_work_options(parser: argparse.ArgumentParser) -> None:
    _add_workers(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def _add_dataset_command(
    rooms: "argparse._SubParsersAction[_Parser]", name: str, command: Command, help: str
) -> argparse.ArgumentParser:
    parser = rooms.add_parser(name, help=help, description=f"Print or write the {help}.")
    parser.set_defaults(command=command)
    parser.add_argument("name", metavar="NAME", help="a dataset of `ccnet-data list`")
    parser.add_argument(
        "options",
        nargs="*",
        default=[],
        metavar="key=value",
        help="options of the dataset; a value is JSON, a,b,c or plain text",
    )
    parser.add_argument("--root", metavar="DIR", help="the same as root=DIR")
    return parser


def _quality(text: str) -> int:
    number = _natural(text)
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 100, got {text!r}")
    return number


def _size(text: str) -> int:
    parts = re.fullmatch(r"([1-9][0-9]{0,8})([kMG]?)B", text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"must be a size such as 500kB, 256MB or 1GB, got {text!r}")
    return int(parts[1]) * _UNITS[parts[2]]


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be a whole number above 0, got '0'")
    return number


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number that is not negative, got {text!r}")
    return int(text)
