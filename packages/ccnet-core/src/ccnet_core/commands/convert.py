"""`ccnet convert`: a checkpoint of another program to a weights folder."""

import argparse
from pathlib import Path
from typing import Any

from ccnet_core.errors import WeightsError
from ccnet_core.layouts import LAYOUTS
from ccnet_core.model import CCNet
from ccnet_core.transplant import transplant
from ccnet_core.zoo import load_config


def add(commands: Any) -> None:
    """Add the parser of `ccnet convert`."""
    command = commands.add_parser("convert", help="turn a checkpoint of another program into a weights folder")
    command.add_argument("file", metavar="FILE", help="mmsegmentation's, the authors', or an ImageNet backbone")
    command.add_argument("--model", required=True, metavar="NAME", help="the model it fits; `ccnet models` lists them")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="the weights folder to write")
    command.add_argument("--overwrite", action="store_true", help="replace an older weights folder")
    command.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto", help="default: auto")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the weights folder and say what became of the tensors."""
    if options.out.is_dir() and any(options.out.iterdir()) and not options.overwrite:
        raise WeightsError(f"{options.out}: this folder is not empty. Give a new one, or --overwrite.")
    done = transplant(options.file, CCNet, model=options.model, layout=options.layout)
    done.model.save_pretrained(options.out)
    reasons = ", ".join(sorted(set(done.dropped.values())))
    dropped = f", {len(done.dropped)} dropped ({reasons})" if reasons else ""
    count, of_model = done.config.num_classes, load_config(options.model).num_classes
    others = "" if count == of_model else f" ({options.model} has {of_model}; its inference plan stays)"
    kept = f"{done.mapped} tensors (layout {done.layout})"
    print(f"{options.file} -> {options.out}: {kept}{dropped}, {count} classes{others}")
