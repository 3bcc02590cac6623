"""The kernels with a seeded fault: the sources of `ccnet_kernels.cuda` with some text replaced, as another package."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from emulator import run_of

import ccnet_kernels.cuda
from ccnet_kernels.cuda import ptx


def variant(folder: Path, name: str, place: str, text: str, replacement: str) -> ModuleType:
    """Return `passes` of a package `name` that differs in one place, with the emulator below it.

    `place` is a file without .py or, where the text is in several functions, file.function.
    """
    file, _, function = place.partition(".")
    package = folder / name
    package.mkdir()
    for path in Path(ccnet_kernels.cuda.__file__).parent.glob("*.py"):
        source = path.read_text()
        if path.stem == file:
            source = _replaced(source, f"\ndef {function}(" if function else "", text, replacement)
        (package / path.name).write_text(source.replace("ccnet_kernels.cuda", name))
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
        sys.modules[f"{name}.ptx"] = ptx  # the emulator knows its functions by identity
        passes = importlib.import_module(f"{name}.passes")
        passes.launch.run = run_of(importlib.import_module(f"{name}.catalogue"))
        return passes
    finally:
        sys.path.remove(str(folder))
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]


def _replaced(source: str, start: str, text: str, replacement: str) -> str:
    before, start, rest = source.partition(start) if start else ("", "", source)
    body, end, after = rest.partition("\ndef ") if start else (rest, "", "")
    assert body.count(text) == 1, f"the source holds {body.count(text)} times, not once:\n{text}"
    return before + start + body.replace(text, replacement) + end + after


def attend_by(passes: ModuleType) -> Any:
    """Return what `ops.attend` would be with these passes, for all five arguments."""

    class Attend(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output, *kept = passes.forward_and_keep(*inputs)
            ctx.save_for_backward(*inputs[:4], *kept)
            return output

        @staticmethod
        def backward(ctx, gradient):
            return *passes.backward(gradient, *ctx.saved_tensors), gradient

    return lambda query, key, value, *, scale, residual: Attend.apply(query, key, value, scale, residual)
