"""What goes into a file: pictures in, labels and logits out, captured as a graph for any size.

Shape letters: B batch, K classes, H and W size of the picture, h and w size of the feature map.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ccnet_core.checks import require
from ccnet_core.errors import ExportError
from ccnet_core.model import CCNet
from ccnet_core.resnet import ResNet

Output = Literal["labels", "logits"]
"""What a file gives: labels (B, H, W) and logits (B, K, h, w), or logits alone."""

ANY_SIZE = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
"""Batch, height and width are free."""

EXAMPLE = (72, 97)
"""Height and width of the pictures with which a graph of any size is traced."""


class Deployed(nn.Module):
    """A copy of a network for prediction: float32, on the CPU, in torch operations, without what only training needs.

    Takes uint8 (B, 3, H, W) RGB. With output "labels" it gives (labels, logits), else logits. `labels` (B, H, W) are
    the classes of highest score after the network's own bilinear upsampling, the first one of equals: uint8, or int32
    for more than 256 classes. `logits` (B, K, h, w) are float32.
    """

    def __init__(self, model: CCNet, output: Output) -> None:
        super().__init__()
        require(model.config.task == "segmentation", "a model of clips cannot be exported. Predict with ccnet-core")
        require(output in get_args(Output), f"output must be 'labels' or 'logits', got {output!r}")
        if not isinstance(model.backbone, ResNet):
            raise ExportError(
                f"{model.config.name}: its backbone is one of transformers; only networks with a ResNet are exported."
            )
        self.network = copy.deepcopy(model).to("cpu", torch.float32)
        self.network.auxiliary_head = None
        self.network.head.keep_answer()
        self.network.use_attention("torch")
        self.output = output
        self.eval().requires_grad_(False)

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, in their order."""
        return ["labels", "logits"] if self.output == "labels" else ["logits"]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        """(B, 3, H, W) -> (labels, logits), or logits."""
        logits: Tensor = self.network(image, auxiliary=False).logits
        return logits if self.output == "logits" else (self.labels(logits, image), logits)

    def labels(self, logits: Tensor, image: Tensor) -> Tensor:
        """(B, K, h, w) and the pictures that they belong to -> (B, H, W)."""
        labels = self.scores(logits, image).argmax(1)
        return labels.to(torch.uint8 if self.network.config.num_classes <= 256 else torch.int32)

    def scores(self, logits: Tensor, image: Tensor) -> Tensor:
        """(B, K, h, w) and the pictures that they belong to -> (B, K, H, W)."""
        return self.network.resize_logits(logits, (image.shape[2], image.shape[3]))


def capture(deployed: Deployed, example: tuple[int, int], dimensions: dict[int, Any]) -> ExportedProgram:
    """Return the graph of a network, traced with pictures of the size `example`, free in the axes of `dimensions`."""
    image = torch.zeros(2, 3, *example, dtype=torch.uint8)
    with quiet(), torch.no_grad():
        return torch.export.export(deployed, (image,), dynamic_shapes={"image": dimensions})


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what torch's exporters say about themselves: deprecations in their code, torchvision not found."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", r"`torch.jit.script_method` is deprecated", DeprecationWarning)
            yield
    finally:
        registration.setLevel(level)


def metadata(model: CCNet) -> dict[str, str]:
    """Return what a user of a file must know about the network.

    `model`, `classes` and `palette` (both as JSON), `align_corners` and `stride`, all as text; and `fit`, as JSON the
    height and width of the crop, of a model that fits pictures into one, which the file does not do.
    """
    config, plan = model.config, model.config.inference
    return {
        "model": config.name,
        "classes": json.dumps(config.classes),
        "palette": json.dumps(config.palette),
        "align_corners": json.dumps(config.align_corners),
        "stride": str(model.backbone.stride),
        **({"fit": json.dumps(plan.crop)} if plan.mode == "fit" else {}),
    }
