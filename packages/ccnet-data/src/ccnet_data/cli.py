"""The command `ccnet-data`: list, info, stats and preview."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from . import registry
from .errors import DataError
from .frequency import class_frequency, class_weights
from .options import describe
from .preview import save_preview
from .sample import SegmentationDataset

WRONG_INPUT = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 after one line "error: ..." on standard error."""
    given = _parse(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    try:
        command(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain once more on closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (DataError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def parse_options(pairs: Sequence[str]) -> dict[str, object]:
    """Return {key: value} of texts such as "length=20" or "classes=road,sky"."""
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DataError(f"An option is written key=value, got {pair!r}.")
        if key in options:
            raise DataError(f"Option {key!r} is given twice.")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> object:
    """Return `text` as JSON if it is JSON, else as a list of texts if it has commas, else as it is."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.split(",") if "," in text else text


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    listing = commands.add_parser("list", help="the datasets and their options")
    listing.set_defaults(command=_list)
    _add_command(commands, "info", _info, "size, classes and colours of a split")
    _add_command(commands, "stats", _stats, "pixels, share and weight (share^-0.5) of each class")
    preview = _add_command(commands, "preview", _preview, "pictures beside their labels, as one PNG")
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="where the PNG goes")
    preview.add_argument("--count", type=_positive, default=8, metavar="N", help="samples to show (default 8)")
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[_Parser]", name: str, command: Callable[[argparse.Namespace], None], help: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"Print or write the {help}.")
    parser.set_defaults(command=command)
    parser.add_argument("name", metavar="NAME", help="a dataset of `ccnet-data list`")
    parser.add_argument(
        "options", nargs="*", metavar="key=value", help="options of the dataset; a value is JSON, a,b,c or plain text"
    )
    parser.add_argument("--root", metavar="DIR", help="the same as root=DIR")
    parser.add_argument("--split", default="train", help="which split (default train)")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


def _load(given: argparse.Namespace) -> SegmentationDataset:
    root = [] if given.root is None else [f"root={json.dumps(given.root)}"]
    return registry.load(given.name, given.split, **parse_options([*root, *given.options]))


def _list(_: argparse.Namespace) -> None:
    for name, source in registry.SOURCES.items():
        print(f"{name}: {(source.__doc__ or '').splitlines()[0]}")
        for usage, meaning in describe(source):
            print(f"    {usage:<14} {meaning}")


def _info(given: argparse.Namespace) -> None:
    dataset = _load(given)
    first = dataset[0]
    height, width = first["label"].shape
    print(f"{given.name}, split {given.split}: {len(dataset)} samples, task {dataset.task}")
    print(f"first sample: {first['id']}, {width}x{height} (width x height)")
    print(f"classes: {len(dataset.classes)}, ignored pixels have label {dataset.ignore_index}")
    for number, (name, colour) in enumerate(zip(dataset.classes, dataset.palette, strict=True)):
        print(f"{number:4d}  #{bytes(colour).hex()}  {name}")
    for one, other in dataset.flip_pairs:
        print(f"swapped in a mirror image: {dataset.classes[one]}, {dataset.classes[other]}")


def _stats(given: argparse.Namespace) -> None:
    dataset = _load(given)
    counts = class_frequency(dataset)
    total = max(1, int(counts.sum()))
    print(f"{'pixels':>14}  {'share':>8}  {'weight':>8}  class")
    for name, count, weight in zip(dataset.classes, counts, class_weights(counts), strict=True):
        print(f"{count:14d}  {count / total:8.4%}  {weight:8.3f}  {name}")


def _preview(given: argparse.Namespace) -> None:
    save_preview(_load(given), given.count, given.out)
    print(given.out)
