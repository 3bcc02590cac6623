"""`ccnet attend`: what pixels look at, as a picture."""

import argparse
from pathlib import Path
from typing import Any

from ccnet_core import render
from ccnet_core.attention_map import as_seen, attention_maps
from ccnet_core.commands.options import add_model_options, load_model, pair
from ccnet_core.preprocess import to_tensor


def add(commands: Any) -> None:
    """Add the parser of `ccnet attend`."""
    command = commands.add_parser(
        "attend", help="draw what a pixel looks at, after one step and after two: black least, white most"
    )
    command.add_argument("picture", metavar="PICTURE")
    add_model_options(command)
    command.add_argument(
        "--point",
        required=True,
        action="append",
        type=pair,
        metavar="X,Y",
        help="the pixel, from 0, x to the right; given again, each pixel gets a row",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="the PNG to write (default: NAME_attention.png)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write for each point the picture, its attention after one step, and after two if the model takes two."""
    model = load_model(options)
    tensor = to_tensor(options.picture)
    maps = attention_maps(model, tensor, points=options.point)
    shown, points = as_seen(model, tensor, options.point)
    picture = shown.permute(1, 2, 0).numpy()
    rows = [render.attention_picture(picture, point, seen) for point, seen in zip(points, maps, strict=True)]
    out = options.out or Path(f"{Path(options.picture).stem}_attention.png")
    render.write_png(out, render.stack(rows))
    count = "1 point" if len(rows) == 1 else f"{len(rows)} points"
    print(f"{options.picture} -> {out} (the picture, then {len(maps[0])} steps of attention; {count})")
