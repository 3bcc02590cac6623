"""A package of AOTInductor: the network compiled ahead for this kind of CPU, which also runs without Python."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim

from ccnet_core.checks import is_pair, require
from ccnet_core.errors import ExportError, PictureError
from ccnet_core.export.agreement import Agreement, require_agreement
from ccnet_core.export.graph import Deployed, Output, capture, metadata, quiet
from ccnet_core.files import replace_file
from ccnet_core.model import CCNet

MULTIPLES = ((2, 8, 8), (1, 9, 13), (2, 16, 10))
"""Batch, height and width, in cells of the feature map, with which a package of several sizes is tried."""


def export_aot(
    model: CCNet, path: str | Path, *, output: Output = "labels", size: tuple[int, int] | None = None
) -> Agreement:
    """Compile `model` to a package for :func:`load_aot`, for any batch, and return how it compares with the network.

    `size` is the (height, width) of all pictures. Without it they are multiples of the network's stride, 8 in the
    published models, from two cells on: the compiler of torch 2.13 stops at rounded sizes in attention. For the
    same reason a max-pool with `ceil_mode`, as in the authors' models, needs `size`. Input and outputs are those of
    :class:`ccnet_core.export.graph.Deployed`. Compiling takes a C++ compiler and a minute or more.

    Raises ExportError, and leaves no file, if there is no compiler, if it fails, or if answers differ.
    """
    require(size is None or is_pair(size), f"size must be two whole numbers above 0, height and width, got {size!r}")
    if size is None and getattr(model.config.backbone, "ceil_mode", False):
        raise ExportError(
            f"{model.config.name}: AOTInductor takes attention behind a max-pool with ceil_mode for one size only. "
            "Give it (--size H,W), or take ONNX or --format program, which take any."
        )
    _require_compiler()
    deployed, step = Deployed(model, output), model.backbone.stride
    free = {} if size else {2: step * Dim("rows", min=2), 3: step * Dim("columns", min=2)}
    example = size or (9 * step, 12 * step)
    facts = metadata(model) | {"size": json.dumps(size), "outputs": json.dumps(deployed.output_names)}
    graph = capture(deployed, example, {0: Dim("batch", min=1), **free})
    with replace_file(path) as target:
        try:
            with quiet():
                torch._inductor.aoti_compile_and_package(
                    graph, package_path=str(target), inductor_configs={"aot_inductor.metadata": facts}
                )
        except (torch._inductor.exc.InductorError, torch._inductor.exc.CppCompileError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"{path}: AOTInductor could not compile {model.config.name}: {reason}") from error
        cells = [(batch, *size) for batch in (2, 1)] if size else [(b, h * step, w * step) for b, h, w in MULTIPLES]
        return require_agreement(deployed, load_aot(target).outputs, cells)


class Package:
    """A loaded package. `metadata` is what :func:`ccnet_core.export.graph.metadata` says, with its size and outputs."""

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise ExportError(f"{path}: there is no such file.")
        try:
            self._run = torch._inductor.aoti_load_package(str(path))
            self.metadata = self._run.get_metadata()
            self._size, self._stride = json.loads(self.metadata["size"]), int(self.metadata["stride"])
        except (RuntimeError, KeyError) as error:
            again = "Make it with `ccnet export --format aot`, with this version of torch and on a CPU of this kind."
            raise ExportError(f"{path}: not a package that can be loaded here ({error}). {again}") from error

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """Return (labels, logits), or logits, of pictures (B, 3, H, W), uint8, RGB, on the CPU.

        Raises PictureError for anything else, and for a size that the package was not compiled for.
        """
        found = self.outputs(image)
        return found[0] if len(found) == 1 else (found[0], found[1])

    def outputs(self, image: Tensor) -> Sequence[Tensor]:
        """Return the outputs in the order of `metadata["outputs"]`."""
        if image.ndim != 4 or image.shape[1] != 3 or image.dtype != torch.uint8 or image.device.type != "cpu":
            kind = f"{image.dtype} {tuple(image.shape)} on {image.device}"
            raise PictureError(f"A package takes pictures (B, 3, H, W), uint8, on the CPU, got {kind}.")
        height, width = image.shape[2:]
        if self._size and [height, width] != self._size:
            raise PictureError(f"This package takes pictures of {self._size[0]}x{self._size[1]}, got {height}x{width}.")
        if not self._size and (height % self._stride or width % self._stride or min(height, width) < 2 * self._stride):
            raise PictureError(
                f"This package takes heights and widths that are multiples of {self._stride}, from "
                f"{2 * self._stride} on, got {height}x{width}. Resize the picture, or compile a package for its size."
            )
        found = self._run(image.contiguous())
        return [found] if isinstance(found, Tensor) else list(found)


def load_aot(path: str | Path) -> Package:
    """Load a file of :func:`ccnet_core.export.export_aot`, for the CPU.

    Raises ExportError if it is none, or cannot be loaded here: it takes the torch and the kind of CPU that wrote it.
    """
    return Package(path)


def _require_compiler() -> None:
    import torch._inductor.cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        torch._inductor.cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler as error:
        install = "Install g++ or clang++, or name one in the environment variable CXX"
        raise ExportError(f"AOTInductor needs a C++ compiler, and none was found. {install}.") from error
