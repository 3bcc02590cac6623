"""The kernels' sources with some text replaced: a smaller geometry for the simulator, or a seeded fault."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import ccnet_kernels.cuda

FILES = ("crisscross", "forward", "backward", "launch")
Replacement = tuple[str, str, str]  # file, text, replacement

# Blocks of 2 x 3 pixels and 2 groups: every tail, second round and second chunk occurs on a map of a few pixels, and
# the simulator starts 12 threads per block instead of 256.
SMALL: tuple[Replacement, ...] = (
    ("crisscross", "TILE_HEIGHT = 4", "TILE_HEIGHT = 2"),
    ("crisscross", "TILE_WIDTH = 8", "TILE_WIDTH = 3"),
    ("crisscross", "GROUPS = 8", "GROUPS = 2"),
    ("crisscross", "SHARE = 4", "SHARE = 2"),
    ("forward", "CHANNELS = 16", "CHANNELS = 2"),
    ("backward", "CHANNELS = 8", "CHANNELS = 2"),
    ("launch", "DOT_BLOCK = 256", "DOT_BLOCK = 8"),
)


def launch_of_variant(folder: Path, name: str, replacements: tuple[Replacement, ...]) -> ModuleType:
    """Write the changed sources as package `name` into `folder` and return its launch module."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").touch()
    source_folder = Path(ccnet_kernels.cuda.__file__).parent
    for file in FILES:
        text = (source_folder / f"{file}.py").read_text()
        for _, old, new in (entry for entry in replacements if entry[0] == file):
            assert old in text, f"{file}.py no longer holds {old!r}"
            text = text.replace(old, new)
        (package / f"{file}.py").write_text(text.replace("ccnet_kernels.cuda", name))
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(f"{name}.launch")
    finally:
        sys.path.remove(str(folder))
