"""`ccnet predict-large`: the labels of a picture that does not fit in memory."""

import argparse
from pathlib import Path
from typing import Any, get_args

from ccnet_core.bar import bar
from ccnet_core.commands.options import add_model_options, load_model, pair
from ccnet_core.predict_large import estimate_large, predict_large
from ccnet_core.score_map import Blend


def add(commands: Any) -> None:
    """Add the parser of `ccnet predict-large`."""
    command = commands.add_parser("predict-large", help="segment a TIFF or .npy that does not fit in memory")
    command.add_argument("picture", metavar="PICTURE", help="TIFF, BigTIFF or .npy: RGB, 8 bits a channel")
    add_model_options(command)
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="labels: .tif, .tiff or .npy")
    command.add_argument("--overlay", type=Path, metavar="FILE", help="a PNG of at most 2048 pixels an edge")
    command.add_argument("--crop", type=pair, metavar="H,W", help="size of the sliding window (default: the model's)")
    command.add_argument("--stride", type=pair, metavar="H,W", help="step of the window (default: the model's)")
    command.add_argument("--flip", action="store_true", help="average with the mirror image")
    command.add_argument(
        "--blend", choices=get_args(Blend), default="mean", help="linear: windows fade towards their border"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Say how much there is to do, and do it."""
    model = load_model(options)
    windows = {"crop": options.crop, "stride": options.stride, "flip": options.flip}
    estimate = estimate_large(model, options.picture, **windows)
    height, width = estimate.size
    memory = f"up to {estimate.memory / 1e9:.2f} GB of memory beside the network"
    print(f"{options.picture}: {height} rows of {width} pixels, {estimate.windows} windows, {memory}", flush=True)
    with bar(estimate.windows, "windows", unit="windows") as shown:
        predict_large(
            model,
            options.picture,
            options.out,
            **windows,
            blend=options.blend,
            overlay=options.overlay,
            progress=lambda *_: shown.update(),
        )
    print(f"{options.picture} -> {', '.join(str(file) for file in (options.out, options.overlay) if file)}")
