"""A program of torch.export: runs in Python with torch alone, and is where torch's compilers begin."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ccnet_core.export.agreement import SHAPES, Agreement, require_agreement
from ccnet_core.export.graph import ANY_SIZE, EXAMPLE, Deployed, Output, capture, metadata
from ccnet_core.files import replace_file
from ccnet_core.model import CCNet

METADATA_FILE = "ccnet.json"
"""The name, inside the file, of what :func:`ccnet_core.export.graph.metadata` says, as JSON."""


def export_program(model: CCNet, path: str | Path, *, output: Output = "labels") -> Agreement:
    """Write `model` for `torch.export.load`, for any batch, height and width, and return how it compares.

    Height and width must give at least two cells of the feature map: 9 pixels or more at stride 8. Input and outputs
    are those of :class:`ccnet_core.export.graph.Deployed`, on the CPU. `torch.export.load(path,
    extra_files={"ccnet.json": ""})` fills in the metadata. Raises ExportError, and leaves no file, if the loaded
    program's answers differ from the network's.
    """
    deployed = Deployed(model, output)
    graph = capture(deployed, EXAMPLE, ANY_SIZE)
    with replace_file(path) as target:
        torch.export.save(graph, target, extra_files={METADATA_FILE: json.dumps(metadata(model))})
        program = torch.export.load(target).module()

        def run(image: Tensor) -> list[Tensor]:
            found = program(image)
            return list(found) if output == "labels" else [found]

        return require_agreement(deployed, run, SHAPES)
