"""Options that several commands share, and the model that they name."""

import argparse

import torch

from ccnet_core.devices import CHOICES
from ccnet_core.model import CCNet
from ccnet_core.optimized import OptimizedCCNet

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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


def add_speed_options(command: argparse.ArgumentParser) -> None:
    """Add `--fast`, `--dtype` and `--compile`, of which :func:`optimized` makes a faster network."""
    command.add_argument("--fast", action="store_true", help="the same answers, but for rounding, in less time")
    command.add_argument(
        "--dtype", choices=DTYPES, help="numbers of --fast; bfloat16 rounds more, and is fast where the CPU has AMX"
    )
    command.add_argument(
        "--compile", action="store_true", help="--fast with torch.compile: minutes for each size of picture, once"
    )


def optimized(model: CCNet, options: argparse.Namespace) -> CCNet | OptimizedCCNet:
    """Return the twin that the options of :func:`add_speed_options` ask for, else `model`; say how near it is."""
    if not (options.fast or options.dtype or options.compile):
        return model
    dtype = DTYPES.get(options.dtype, model.dtype)
    twin = model.optimized(dtype=dtype, compile=options.compile)
    near = twin.agreement
    print(f"optimized: logits within {near.logits:.1e} of the largest, {near.labels:.2%} of labels the same")
    return twin


def pair(text: str) -> tuple[int, int]:
    """Return the two whole numbers of "1,2"."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two whole numbers with a comma between, got {text!r}") from None
    return first, second
