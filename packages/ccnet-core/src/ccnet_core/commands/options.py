"""Options that several commands share, and the model that they name."""

import argparse

from ccnet_core.devices import CHOICES
from ccnet_core.model import CCNet


def add_model_options(command: argparse.ArgumentParser, *, device: bool = True) -> None:
    """Add `--model`, `--device` and `--backend`; without `device`, the model is on the CPU, for others to move."""
    command.add_argument("--model", required=True, metavar="FOLDER_OR_ID", help="weights folder, Hub name or zoo model")
    if device:
        command.add_argument("--device", default="auto", metavar="NAME", help=f"{CHOICES} (default: auto)")
    command.set_defaults(device="auto" if device else "cpu")
    command.add_argument("--backend", metavar="NAME", help="attention backend; `ccnet doctor` lists them")


def load_model(options: argparse.Namespace) -> CCNet:
    """Return the model that the options of :func:`add_model_options` name, on its device, with its backend."""
    model = CCNet.from_pretrained(options.model, device=options.device)
    model.use_attention(options.backend)
    return model


def pair(text: str) -> tuple[int, int]:
    """Return the two whole numbers of "1,2"."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two whole numbers with a comma between, got {text!r}") from None
    return first, second
