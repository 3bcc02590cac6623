"""`ccnet predict`: overlays, labels, areas of the classes for pictures, folders, lists and videos."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ccnet_core import files
from ccnet_core.commands.options import add_model_options, add_speed_options, load_model, optimized, pair
from ccnet_core.config import TTA_SCALES, Mode
from ccnet_core.errors import ConfigError, OtherKindError, PictureError
from ccnet_core.kinds import Kind, find_kind
from ccnet_core.outputs import DEFAULT, ENDINGS, VIDEO_ENDINGS, Outputs, Results
from ccnet_core.picture_files import LIST, Named, find_pictures
from ccnet_core.predict_files import Outcome, predict_files
from ccnet_core.video import require_av

EXIT_CODES = (
    "exit codes: 0 done; 1 some pictures could not be read, the others are done; 2 a mistake, in one line that says "
    "what to do; 130 after Ctrl-C: what is written is whole, and the same command continues."
)

PICTURES = (
    "pictures, videos, folders with all pictures below them, patterns in quotes, camera:0 (until Ctrl-C), "
    "or - for a list of files on stdin"
)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `ccnet predict`."""
    command = commands.add_parser("predict", help="segment pictures, folders and videos", epilog=EXIT_CODES)
    command.add_argument("pictures", nargs="+", metavar="PICTURE", help=PICTURES)
    add_model_options(command)
    add_output_options(command)
    add_plan_options(command)
    add_speed_options(command)
    command.set_defaults(run=run)


def add_output_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say what is written, and where."""
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder of the results (default: .)")
    command.add_argument(
        "--save",
        type=kinds,
        metavar="KIND,...",
        help="what to write of each: overlay, labels (a PNG of class indices with palette), json (the area of each "
        f"class), side (picture beside classes); of a video overlay or side (default: {','.join(DEFAULT)}); of objects "
        "overlay, with those that score 0.5 or more, or json, all of them in COCO's form (default: overlay)",
    )
    command.add_argument("--opacity", type=share, default=0.5, metavar="N", help="of overlays, 0 to 1 (default: 0.5)")
    command.add_argument("--overwrite", action="store_true", help="predict again what has been written")
    command.add_argument(
        "--batch", type=count, default=4, metavar="N", help="pictures of one size at once (default: 4)"
    )


def add_plan_options(command: argparse.ArgumentParser) -> None:
    """Add the options of which :func:`plan_options` makes those of :func:`ccnet_core.predict`."""
    command.add_argument("--mode", choices=get_args(Mode), help="default: the model's")
    command.add_argument(
        "--crop",
        type=pair,
        metavar="H,W",
        help="size of the sliding window, or of the crop of mode fit (default: the model's)",
    )
    command.add_argument("--stride", type=pair, metavar="H,W", help="step of the window (default: the model's)")
    command.add_argument("--resize", choices=("plan",), help="fit the picture to the model's base scale first")
    command.add_argument("--tta", action="store_true", help="average six scales and their mirror images")


def plan_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return how to predict, as keywords of :func:`ccnet_core.predict`."""
    plan = {name: getattr(options, name) for name in ("mode", "crop", "stride", "resize")}
    return plan | ({"scales": TTA_SCALES, "flip": True} if options.tta else {})


def kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of output in "overlay,json"."""
    named = tuple(dict.fromkeys(text.split(",")))
    unknown = [kind for kind in named if kind not in ENDINGS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(ENDINGS)}")
    return named


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return number


def count(text: str) -> int:
    """Return a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Write the results of every picture, and say how it went; return the exit code."""
    sources = find_sources(options)
    model, outputs = prepare(options, sources)
    model, outcome = optimized(model, options), Outcome()
    try:
        predict_files(
            model,
            sources,
            outputs,
            outcome,
            batch_size=options.batch,
            overwrite=options.overwrite,
            show=True,
            **plan_options(options),
        )
    except KeyboardInterrupt:
        done = f"{outcome.written + outcome.skipped} of {len(sources)} are done and whole"
        without = " without --overwrite" if options.overwrite else ""
        print(f"\nstopped: {done}. The same command{without} continues.", file=sys.stderr)
        return 130
    return report(outcome, what_of(sources), places_of(sources, outputs))


def find_sources(options: argparse.Namespace) -> list[Named]:
    """Return the pictures and videos that the options name, when all else is there that writing results needs.

    Raises PictureError for a word that names nothing, for a video of which nothing can be saved, and without PyAV;
    OSError if nothing can be written to `--out`.
    """
    lines = sys.stdin if LIST in options.pictures else ()
    sources = find_pictures(options.pictures, lines, out=options.out, results=[*ENDINGS.values()])
    if any(named.is_video for named in sources):
        if not set(options.save or DEFAULT) & set(VIDEO_ENDINGS):
            raise PictureError(f"--save: of a video only {' and '.join(VIDEO_ENDINGS)} can be saved. Add one of them.")
        require_av()
    files.require_folder(options.out)
    return sources


def prepare(options: argparse.Namespace, sources: Sequence[Named] = ()) -> tuple[Any, Results]:
    """Return the network that the options name, whatever its kind, and what they ask to be written of `sources`.

    Raises ConfigError for options that its kind does not have.
    """
    how: dict[str, Any] = {"folder": options.out, "opacity": options.opacity}
    if options.save is not None:
        how["kinds"] = options.save
    try:
        model = load_model(options)
    except OtherKindError as error:
        kind = find_kind(error)
        _refuse_others(options, sources, kind)
        network = kind.load(options.model, device=options.device, backend=options.backend)
        return network, kind.results(network, **how)
    return model, Outputs(config=model.config, **how)


def _refuse_others(options: argparse.Namespace, sources: Sequence[Named], kind: Kind) -> None:
    """Raise ConfigError for options and PictureError for videos, which only networks with one class per pixel take."""
    names = ("mode", "crop", "stride", "resize", "tta", "fast", "dtype", "compile")
    given = [f"--{name}" for name in names if getattr(options, name, None)]
    if given:
        raise ConfigError(f"{given[0]}: the model finds {kind.finds}, and takes every picture whole. Leave it out.")
    videos = [named for named in sources if named.is_video]
    if videos:
        raise PictureError(f"{videos[0].source}: the model finds {kind.finds} in pictures only. Leave the video out.")


def what_of(sources: Sequence[Named]) -> str:
    """Return in words what is predicted."""
    return str(sources[0].source) if len(sources) == 1 else f"{len(sources)} pictures"


def places_of(sources: Sequence[Named], outputs: Results) -> list[str]:
    """Return the files of the only one of `sources`; of several those of one called NAME."""
    if len(sources) > 1:
        sources = [Named(named.source, "NAME") for named in sources]
    return list(dict.fromkeys(str(path) for named in sources for path in outputs.paths(named).values()))


def report(outcome: Outcome, what: str, places: Sequence[str]) -> int:
    """Print what was written where, and on stderr a line for each failure; return the exit code."""
    counts = f"{outcome.written} written"
    if outcome.skipped:
        counts += f", {outcome.skipped} skipped, as they are there (--overwrite makes them anew)"
    if outcome.failures:
        counts += f", {len(outcome.failures)} failed"
    print(f"{what} -> {', '.join(places)}: {counts}")
    for note in outcome.notes:
        print(note)
    for failure in outcome.failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if outcome.failures else 0
