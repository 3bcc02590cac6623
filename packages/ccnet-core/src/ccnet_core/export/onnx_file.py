"""ONNX, for onnxruntime and whatever else reads it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ccnet_core.errors import ExportError
from ccnet_core.export.agreement import SHAPES, Agreement, require_agreement
from ccnet_core.export.graph import ANY_SIZE, EXAMPLE, Deployed, Output, capture, metadata, quiet
from ccnet_core.files import replace_file
from ccnet_core.model import CCNet

LARGEST = 2**31 - 2**24
"""Bytes of weights in one ONNX file, which must be below 2 GiB with its graph."""


def export_onnx(model: CCNet, path: str | Path, *, output: Output = "labels") -> Agreement:
    """Write `model` as one ONNX file of any batch, height and width, and return how it compares with the network.

    The input is `image`, uint8 (batch, 3, height, width) RGB; the outputs are `labels` and `logits`, or `logits`; see
    :class:`ccnet_core.export.graph.Deployed`. The file's metadata hold the model's name, its classes and palette as
    JSON, its `align_corners` and its stride. The answers of onnxruntime are compared with torch's before the file
    takes its place. Raises ExportError if they differ, if the extra `onnx` is not installed, or for 2 GiB of weights
    or more, which one file cannot hold.
    """
    require_packages()
    deployed = Deployed(model, output)
    size = sum(tensor.numel() * tensor.element_size() for tensor in deployed.state_dict().values())
    if size >= LARGEST:
        raise ExportError(
            f"{path}: one ONNX file holds less than 2 GiB, and these weights take {size} bytes. Use .pt2."
        )
    graph = capture(deployed, EXAMPLE, ANY_SIZE)
    with replace_file(path) as target:
        with quiet():
            program = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=deployed.output_names,
                dynamic_shapes={"image": {0: "batch", 2: "height", 3: "width"}},
            )
        assert program is not None  # it is None where the exporter writes the file itself
        for node in program.model.graph:
            node.metadata_props.clear()  # where in its own code the exporter made the node
        program.model.metadata_props.update(metadata(model))
        program.save(target, external_data=False)
        return require_agreement(deployed, _runner(target), SHAPES)


def require_packages() -> None:
    """Raise ExportError if the extra `onnx` is not installed."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        install = 'python -m pip install "ccnet-core[onnx]"'
        raise ExportError(f"ONNX needs packages that are not installed ({', '.join(missing)}): {install}")


def _runner(path: Path) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: [torch.from_numpy(output) for output in session.run(None, {"image": image.numpy()})]
