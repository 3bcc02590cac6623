"""`ccnet predict`: an overlay and a label PNG for each picture."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccnet_core import render
from ccnet_core.commands.options import add_model_options, load_model, pair
from ccnet_core.config import TTA_SCALES
from ccnet_core.errors import PictureError
from ccnet_core.predict import predict
from ccnet_core.preprocess import to_tensor


def add(commands: Any) -> None:
    """Add the parser of `ccnet predict`."""
    command = commands.add_parser("predict", help="segment pictures: an overlay and a label PNG for each")
    command.add_argument("pictures", nargs="+", metavar="PICTURE")
    add_model_options(command)
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder of the results (default: .)")
    add_plan_options(command)
    command.set_defaults(run=run)


def add_plan_options(command: argparse.ArgumentParser) -> None:
    """Add the options of which :func:`plan_options` makes those of :func:`ccnet_core.predict`."""
    command.add_argument("--mode", choices=("whole", "slide"), help="default: the model's")
    command.add_argument("--crop", type=pair, metavar="H,W", help="size of the sliding window (default: the model's)")
    command.add_argument("--stride", type=pair, metavar="H,W", help="step of the window (default: the model's)")
    command.add_argument("--resize", choices=("plan",), help="fit the picture to the model's base scale first")
    command.add_argument("--tta", action="store_true", help="average six scales and their mirror images")


def plan_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return how to predict, as keywords of :func:`ccnet_core.predict`."""
    plan = {name: getattr(options, name) for name in ("mode", "crop", "stride", "resize")}
    return plan | ({"scales": TTA_SCALES, "flip": True} if options.tta else {})


def run(options: argparse.Namespace) -> None:
    """Write the results of every picture."""
    _refuse_common_names(options.pictures)
    model, plan = load_model(options), plan_options(options)
    for path in options.pictures:
        picture = to_tensor(path)
        labels = predict(model, picture, **plan).labels
        stem = options.out / Path(path).stem
        overlay = render.overlay(picture.permute(1, 2, 0).numpy(), labels, model.config.palette)
        render.write_png(f"{stem}_overlay.png", overlay)
        render.write_png(f"{stem}_labels.png", render.label_png(labels, model.config.palette))
        print(f"{path} -> {stem}_overlay.png, {stem}_labels.png")


def _refuse_common_names(paths: Sequence[str]) -> None:
    """Raise PictureError if two pictures would write the same files."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(Path(path).stem, path)
        if other is not path:
            raise PictureError(f"{other} and {path} would write the same files. Give them in two runs with two --out.")
