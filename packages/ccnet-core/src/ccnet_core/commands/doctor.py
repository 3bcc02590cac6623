"""`ccnet doctor`: versions, devices and attention backends."""

import argparse
import os
import platform
from typing import Any

import torch

from ccnet_core import __version__
from ccnet_core.attention.plugins import attention_backends
from ccnet_core.attention.select import ENVIRONMENT_VARIABLE, require_known


def add(commands: Any) -> None:
    """Add the parser of `ccnet doctor`."""
    commands.add_parser("doctor", help="versions, devices and attention backends").set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Print what is here, and what may be worth installing."""
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
