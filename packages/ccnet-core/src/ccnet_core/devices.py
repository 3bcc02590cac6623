"""From the name of a device to the device, if it is here."""

import functools
import logging

import torch

from ccnet_core.errors import CCNetError

logger = logging.getLogger(__name__)

CHOICES = "auto, cpu, cuda, cuda:N or mps"

MEASURED = ("cpu",)
"""The kinds of device on which the answers and the speed of ccnet-core have been measured."""


def find_device(name: str = "auto") -> torch.device:
    """Return the device of this name: "cpu", "cuda", "cuda:1" or "mps".

    "auto" is CUDA where torch finds a device, else MPS, else the CPU. The log says once of each kind of device if
    ccnet-core has not been measured on it. Raises CCNetError for a device that is not here, with those that are.
    """
    here = present_devices()
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if kind in here), "cpu")
    if name not in here:
        raise CCNetError(f"There is no device {name!r} here, only {', '.join(here)}. Give one of these, or auto.")
    device = torch.device(name)
    if device.type not in MEASURED:
        _say_unmeasured(device.type)
    return device


def present_devices() -> list[str]:
    """Return the names that :func:`find_device` finds: "cuda" is the first of "cuda:0", "cuda:1", ..."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if cuda else []), *cuda, *mps]


@functools.cache
def _say_unmeasured(kind: str) -> None:
    logger.warning("ccnet-core has not been measured on %s yet. To be sure, compare with --device cpu.", kind)
