"""A Mask R-CNN of torchvision, such as its file for COCO, as a network with attention."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from ccnet_core.checkpoint import read_checkpoint
from ccnet_core.context_block import NAME
from ccnet_core.errors import WeightsError
from ccnet_core.torch_file import StoredTensor
from ccnet_train.detection.config import DetectorConfig, object_palette
from ccnet_train.detection.network import MaskRCNN
from ccnet_train.detection.weights import fill

OLD_NAMES = {
    "rpn.head.conv.weight": "rpn.head.conv.0.0.weight",
    "rpn.head.conv.bias": "rpn.head.conv.0.0.bias",
    **{
        f"roi_heads.mask_head.mask_fcn{number + 1}.{kind}": f"roi_heads.mask_head.{number}.0.{kind}"
        for number in range(4)
        for kind in ("weight", "bias")
    },
}
"""Of torchvision's first files, and what it calls the same tensors since 0.13."""

CLASSIFIER = "roi_heads.box_predictor.cls_score.weight"

LAST_BLOCKS = {
    "backbone.body.layer3.22.conv3.weight": "resnet101",
    "backbone.body.layer3.5.conv3.weight": "resnet50",
    "backbone.body.layer3.1.conv2.weight": "resnet18",
}
"""A tensor by which a backbone is known; a deeper one has those of the others too."""


def convert_torchvision(
    source: str | Path | Mapping[str, Tensor],
    *,
    attention: Literal["criss_cross", "non_local"] = "criss_cross",
    recurrence: int = 2,
    norm_epsilon: float = 0.0,
) -> MaskRCNN:
    """Return a network with the weights of torchvision's `maskrcnn_resnet50_fpn`, in evaluation mode.

    `source` is its file (`maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth`), which is read without running code of it, or a
    state dict; networks with ResNet-18 and -101 and other classes serve too. Fresh attention changes no answer:
    what is found is what torchvision's own network finds, bit for bit. A file for COCO keeps its 91 outputs, of which
    ten stand for nothing and are called "unused 12" and so on; `from_pretrained(..., classes=...)` of the saved folder
    picks those that are wanted. `norm_epsilon` is that of the frozen batch norm: 0 for COCO's file, as torchvision
    loads it, and 1e-5 for a network that was trained with it from ImageNet.

    Raises WeightsError if the file is damaged or of another network.
    """
    where = "the state dict" if isinstance(source, Mapping) else source
    tensors = _stored(source) if isinstance(source, Mapping) else dict(read_checkpoint(source).tensors)
    tensors = {OLD_NAMES.get(name, name): tensor for name, tensor in tensors.items()}
    backbone = next((kind for name, kind in LAST_BLOCKS.items() if name in tensors), None)
    if CLASSIFIER not in tensors or backbone is None:
        raise WeightsError(f"{where}: no Mask R-CNN of torchvision with a ResNet. Give maskrcnn_resnet50_fpn's file.")
    classes = _classes(tensors[CLASSIFIER].shape[0])
    config = DetectorConfig(
        name=f"maskrcnn_{backbone.replace('resnet', 'r')}_fpn",
        classes=classes,
        palette=object_palette(len(classes)),
        backbone=backbone,  # type: ignore[arg-type]
        norm_epsilon=norm_epsilon,
        attention=attention,
        recurrence=recurrence,
    )
    model = MaskRCNN(config)
    targets = {name: value for name, value in model.state_dict().items() if f".{NAME}." not in name}
    fill(targets, tensors, where=where, what=f"torchvision's Mask R-CNN with {backbone} and {len(classes)} classes")
    converted: MaskRCNN = model.eval()
    return converted


def _stored(state: Mapping[str, Tensor]) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=value.detach)
        for name, value in state.items()
    }


def _classes(outputs: int) -> tuple[str, ...]:
    """Return the names of all outputs but the background: COCO's if there are as many."""
    coco: list[str] = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    if outputs != len(coco):
        return tuple(f"class {index}" for index in range(outputs - 1))
    return tuple(f"unused {index}" if name == "N/A" else name for index, name in enumerate(coco) if index)
