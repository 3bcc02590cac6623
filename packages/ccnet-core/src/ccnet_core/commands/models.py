"""`ccnet models`: the zoo as a table."""

import argparse
from typing import Any

from ccnet_core.zoo import list_models, load_config


def add(commands: Any) -> None:
    """Add the parser of `ccnet models`."""
    command = commands.add_parser("models", help="list the models of the zoo and their published mIoU")
    command.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Print a line for each model."""
    print(f"{'model':46} {'dataset':11} {'crop':>9} {'mIoU':>6} {'ms+flip':>7}  checkpoint")
    for name in list_models():
        figures = load_config(name).published
        if figures is None:
            print(f"{name:46} {'-':11} {'-':>9} {'-':>6} {'-':>7}  random weights only")
            continue
        crop = f"{figures.crop[0]}x{figures.crop[1]}"
        several = "-" if figures.miou_ms_flip is None else f"{figures.miou_ms_flip:.2f}"
        print(f"{name:46} {figures.dataset:11} {crop:>9} {figures.miou:6.2f} {several:>7}  {figures.checkpoint}")
