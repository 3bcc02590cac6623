"""`ccnet demo`: the page."""

import argparse
import os
from pathlib import Path
from typing import Any

from ccnet_core.commands.options import add_model_options, add_speed_options, load_model, optimized
from ccnet_core.commands.predict import count
from ccnet_core.model import CCNet
from ccnet_core.picture_files import find_pictures
from ccnet_core.text import one_line

MOST_SAMPLES = 12


def add(commands: Any) -> None:
    """Add the parser of `ccnet demo`."""
    command = commands.add_parser("demo", help="a page for the browser: drop a picture, see its classes, click a pixel")
    add_model_options(command)
    add_speed_options(command)
    command.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="who may see the page: 127.0.0.1, this machine only (default); 0.0.0.0, all who reach it, without a "
        "password",
    )
    command.add_argument("--port", type=count, metavar="N", help="default: the first free one from 7860")
    command.add_argument(
        "--samples",
        type=Path,
        metavar="DIR",
        help=f"pictures to pick from, up to {MOST_SAMPLES}; visitors can see them",
    )
    command.add_argument(
        "--max-pixels", type=count, default=4_000_000, metavar="N", help="of a picture (default: 4000000)"
    )
    command.add_argument(
        "--max-upload", type=count, default=20, metavar="MIB", help="mebibytes of a file (default: 20)"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve the page until it is stopped."""
    from ccnet_core.demo.answers import Answers
    from ccnet_core.demo.memory import keep_little
    from ccnet_core.demo.server import serve

    keep_little()
    pictures = samples(options.samples)
    model = load_model(options)
    answers = Answers(model=model, segmenter=optimized(model, options), largest=options.max_pixels)
    serve(
        answers,
        host=options.host,
        port=options.port,
        largest_file=options.max_upload * 2**20,
        samples=pictures,
        about=about(options.model, model),
    )


def samples(folder: Path | None) -> list[Path]:
    """Return the first pictures of a folder. Raises PictureError if it holds none."""
    named = find_pictures([str(folder)], out=Path(os.devnull)) if folder else []
    return [Path(sample.source).resolve() for sample in named if not sample.is_video][:MOST_SAMPLES]


def about(name: str, model: CCNet) -> str:
    """Return what the page says of its network, as Markdown; a weights folder is called by its last two names."""
    head = model.config.head
    kind = {"criss_cross": "criss-cross attention", "non_local": "non-local block"}[head.attention]
    attention = f"{kind}, R = {head.recurrence}" if head.recurrence else "no attention"
    shown = one_line("/".join(Path(name).parts[-2:])).replace("`", "'")
    return f"`{shown}`: {model.config.num_classes} classes, {attention}, on {model.device}"
