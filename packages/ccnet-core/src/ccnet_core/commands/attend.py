"""`ccnet attend`: what a pixel looks at, as a picture."""

import argparse
from pathlib import Path
from typing import Any

from ccnet_core import render
from ccnet_core.attention_map import attention_map
from ccnet_core.commands.options import add_model_options, load_model, pair
from ccnet_core.preprocess import to_tensor


def add(commands: Any) -> None:
    """Add the parser of `ccnet attend`."""
    command = commands.add_parser(
        "attend", help="draw what a pixel looks at, after one step and after two: black least, white most"
    )
    command.add_argument("picture", metavar="PICTURE")
    add_model_options(command)
    command.add_argument("--point", required=True, type=pair, metavar="X,Y", help="the pixel, from 0, x to the right")
    command.add_argument("--out", type=Path, metavar="FILE", help="the PNG to write (default: NAME_attention.png)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the picture, its attention after one step, and after two if the model takes two."""
    model = load_model(options)
    picture = to_tensor(options.picture)
    steps = range(1, max(1, min(2, model.config.head.recurrence)) + 1)
    maps = [attention_map(model, picture, point=options.point, recurrence=step) for step in steps]
    out = options.out or Path(f"{Path(options.picture).stem}_attention.png")
    render.write_png(out, render.attention_picture(picture.permute(1, 2, 0).numpy(), options.point, maps))
    print(f"{options.picture} -> {out} (the picture, then {len(maps)} steps of attention)")
