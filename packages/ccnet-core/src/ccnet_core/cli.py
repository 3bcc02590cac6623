"""The command `ccnet`: predict, attend, convert, models, doctor."""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from ccnet_core import __version__, attention_backends, attention_map, list_models, predict, render
from ccnet_core.attention.select import ENVIRONMENT_VARIABLE, require_known
from ccnet_core.devices import CHOICES
from ccnet_core.errors import CCNetError, PictureError, WeightsError
from ccnet_core.layouts import LAYOUTS
from ccnet_core.model import CCNet
from ccnet_core.preprocess import to_tensor
from ccnet_core.transplant import transplant
from ccnet_core.zoo import load_config

TTA_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of the published multi-scale figures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. A mistake of the user is one line on stderr and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        print("error: not enough memory here for this network or picture. Take a smaller one.", file=sys.stderr)
        return 2
    except (CCNetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ccnet", description="Semantic segmentation with criss-cross attention.")
    parser.add_argument("--version", action="version", version=f"ccnet-core {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("predict", help="segment pictures: an overlay and a label PNG for each")
    command.add_argument("pictures", nargs="+", metavar="PICTURE")
    _add_model_options(command)
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder of the results (default: .)")
    command.add_argument("--mode", choices=("whole", "slide"), help="default: the model's")
    command.add_argument("--crop", type=_pair, metavar="H,W", help="size of the sliding window (default: the model's)")
    command.add_argument("--stride", type=_pair, metavar="H,W", help="step of the window (default: the model's)")
    command.add_argument("--resize", choices=("plan",), help="fit the picture to the model's base scale first")
    command.add_argument("--tta", action="store_true", help="average six scales and their mirror images")
    command.set_defaults(run=_predict)

    command = commands.add_parser(
        "attend", help="draw what a pixel looks at, after one step and after two: black least, white most"
    )
    command.add_argument("picture", metavar="PICTURE")
    _add_model_options(command)
    command.add_argument("--point", required=True, type=_pair, metavar="X,Y", help="the pixel, from 0, x to the right")
    command.add_argument("--out", type=Path, metavar="FILE", help="the PNG to write (default: NAME_attention.png)")
    command.set_defaults(run=_attend)

    command = commands.add_parser("convert", help="turn a checkpoint of another program into a weights folder")
    command.add_argument("file", metavar="FILE", help="mmsegmentation's, the authors', or an ImageNet backbone")
    command.add_argument("--model", required=True, metavar="NAME", help="the model it fits; `ccnet models` lists them")
    command.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="the weights folder to write")
    command.add_argument("--overwrite", action="store_true", help="replace an older weights folder")
    command.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto", help="default: auto")
    command.set_defaults(run=_convert)

    commands.add_parser("models", help="list the models of the zoo and their published mIoU").set_defaults(run=_models)
    commands.add_parser("doctor", help="versions, devices and attention backends").set_defaults(run=_doctor)
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, metavar="FOLDER_OR_ID", help="weights folder, Hub name or zoo model")
    command.add_argument("--device", default="auto", metavar="NAME", help=f"{CHOICES} (default: auto)")
    command.add_argument("--backend", metavar="NAME", help="attention backend; `ccnet doctor` lists them")


def _pair(text: str) -> tuple[int, int]:
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two whole numbers with a comma between, got {text!r}") from None
    return first, second


def _load(options: argparse.Namespace) -> CCNet:
    model = CCNet.from_pretrained(options.model, device=options.device)
    model.use_attention(options.backend)
    return model


def _predict(options: argparse.Namespace) -> None:
    _refuse_common_names(options.pictures)
    model = _load(options)
    plan = {name: getattr(options, name) for name in ("mode", "crop", "stride", "resize")}
    plan |= {"scales": TTA_SCALES, "flip": True} if options.tta else {}
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


def _attend(options: argparse.Namespace) -> None:
    model = _load(options)
    picture = to_tensor(options.picture)
    steps = range(1, max(1, min(2, model.config.head.recurrence)) + 1)
    maps = [attention_map(model, picture, point=options.point, recurrence=step) for step in steps]
    out = options.out or Path(f"{Path(options.picture).stem}_attention.png")
    render.write_png(out, render.attention_picture(picture.permute(1, 2, 0).numpy(), options.point, maps))
    print(f"{options.picture} -> {out} (the picture, then {len(maps)} steps of attention)")


def _convert(options: argparse.Namespace) -> None:
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


def _models(options: argparse.Namespace) -> None:  # noqa: ARG001
    print(f"{'model':46} {'dataset':11} {'crop':>9} {'mIoU':>6} {'ms+flip':>7}  checkpoint")
    for name in list_models():
        figures = load_config(name).published
        if figures is None:
            print(f"{name:46} {'-':11} {'-':>9} {'-':>6} {'-':>7}  random weights only")
            continue
        crop = f"{figures.crop[0]}x{figures.crop[1]}"
        several = "-" if figures.miou_ms_flip is None else f"{figures.miou_ms_flip:.2f}"
        print(f"{name:46} {figures.dataset:11} {crop:>9} {figures.miou:6.2f} {several:>7}  {figures.checkpoint}")


def _doctor(options: argparse.Namespace) -> None:  # noqa: ARG001
    import torch

    asked = os.environ.get(ENVIRONMENT_VARIABLE)
    require_known(asked)
    print(f"ccnet-core {__version__}, torch {torch.__version__}, Python {platform.python_version()}")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    print(f"devices: cpu{''.join(f', cuda:{index} ({name})' for index, name in enumerate(names))}")
    rule = f"{ENVIRONMENT_VARIABLE} asks for {asked!r}" if asked else "tried in this order"
    print(f"attention backends ({rule}):")
    for row in attention_backends():
        state = "usable" if row.usable else "not usable"
        reason = f"; {row.reason}" if row.reason else ""
        print(f"  {row.name} {row.version} (interface {row.api_version}): {state}{reason}")
    if torch.cuda.is_available() and not any(row.name != "torch" for row in attention_backends()):
        print('  for fused CUDA kernels: python -m pip install "ccnet-core[kernels]"')
