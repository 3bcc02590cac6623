"""`ccnet export`: a network as a file that other programs run."""

import argparse
from pathlib import Path
from typing import Any

from ccnet_core.commands.options import pair
from ccnet_core.errors import ExportError
from ccnet_core.model import CCNet

ENDINGS = {"onnx": ".onnx", "program": ".pt2", "aot": ".pt2"}
"""The formats, and how the names of their files end. The first one of an ending is the default."""


def add(commands: Any) -> None:
    """Add the parser of `ccnet export`."""
    command = commands.add_parser("export", help="write ONNX, a torch.export program or an AOTInductor package")
    command.add_argument("--model", required=True, metavar="FOLDER_OR_ID", help="weights folder, Hub name or zoo model")
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="NAME.onnx or NAME.pt2")
    command.add_argument("--format", choices=ENDINGS, help="default: onnx for .onnx, program for .pt2")
    command.add_argument(
        "--output", choices=("labels", "logits"), default="labels", help="labels and logits, or logits alone"
    )
    command.add_argument("--size", type=pair, metavar="H,W", help="aot: the size of all pictures (default: any)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the file, if it answers as the network does, and say how near it is."""
    kind = _format(options.out, options.format)
    if options.size and kind != "aot":
        raise ExportError("--size belongs to --format aot. The other formats take pictures of any size.")
    if options.out.is_dir():
        raise ExportError(f"{options.out}: this is a folder. Give the name of a file.")
    from ccnet_core import export  # which imports torch.export

    if kind == "onnx":
        export.require_packages()
    model = CCNet.from_pretrained(options.model)
    write = {"onnx": export.export_onnx, "program": export.export_program, "aot": export.export_aot}[kind]
    agreement = write(model, options.out, output=options.output, **({"size": options.size} if options.size else {}))
    print(f"{options.model} -> {options.out} ({kind}, {options.out.stat().st_size / 1e6:.1f} MB)")
    print(f"compared with torch: {agreement}")
    plan = model.config.inference
    if plan.mode == "fit" and plan.crop:
        size = "{}x{}".format(*plan.crop)
        print(f"this model fits pictures into {size} pixels (height x width), which the file does not do")


def _format(path: Path, asked: str | None) -> str:
    """Return the format that was asked for, or that the name's ending means."""
    fitting = [kind for kind, ending in ENDINGS.items() if ending == path.suffix and asked in (None, kind)]
    if not fitting:
        wanted = f"--format {asked} needs {ENDINGS[asked]}" if asked else ".onnx and .pt2 are known"
        raise ExportError(f"--out {path}: the ending does not fit: {wanted}. Give such a name.")
    return fitting[0]
