"""Published checkpoints to models: mmsegmentation's, the authors', and ImageNet backbones of several origins."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ccnet_core import zoo
from ccnet_core.checkpoint import Checkpoint, read_checkpoint
from ccnet_core.config import CCNetConfig
from ccnet_core.layouts import BACKBONES, Renamed, rename
from ccnet_core.model import CCNet
from ccnet_core.transplant import fill

logger = logging.getLogger(__name__)

CLASSIFIER = "head.classify.conv.weight"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A model in evaluation mode, and what became of the tensors of the file.

    `dropped` has the file's names of those left out on purpose, with the reason.
    """

    model: CCNet
    layout: str
    mapped: int
    dropped: Mapping[str, str]


def convert_checkpoint(path: str | Path, *, model: str, layout: str = "auto") -> CCNet:
    """Load a checkpoint of another program into the network named `model`, in evaluation mode.

    Reads torch.save files of any age and safetensors; no code in them can run. `layout` is one of
    :data:`ccnet_core.layouts.LAYOUTS`; "auto" knows them by their names. A file trained for another number of classes
    gives a model with that number. A file with a backbone only leaves the heads at random, and the log says so.
    Raises ConfigError for an unknown model or layout, and WeightsError for a file that is damaged, of another network,
    or has NaN or infinite weights.
    """
    return convert(path, model=model, layout=layout).model


def convert(path: str | Path, *, model: str, layout: str = "auto") -> Conversion:
    """Do what :func:`convert_checkpoint` does, and say what became of the tensors."""
    config = dataclasses.replace(zoo.load_config(model), published=None)  # the file may have been trained further
    checkpoint = read_checkpoint(path)
    renamed = rename(checkpoint, layout)
    if renamed.layout in BACKBONES:
        network = CCNet(config)
        fill(network.backbone, renamed, what=f"the backbone of {model}")
        logger.warning("%s: holds a backbone only: the heads of %s start at random.", path, model)
    else:
        network = CCNet(_with_classes_of(config, checkpoint, renamed))
        fill(network, renamed, what=model)
        if network.config.classes not in (config.classes, checkpoint.classes):
            count = network.config.num_classes
            logger.warning("%s: has %d classes and does not name them: class 0, class 1, ...", path, count)
    return Conversion(model=network.eval(), layout=renamed.layout, mapped=len(renamed.tensors), dropped=renamed.dropped)


def attention_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of mmcv's CrissCrossAttention with the names and shapes of ours.

    The two differ in `gamma`: mmcv has `gamma.scale` of shape (). A state dict of the authors' module has our names.
    """
    ours = {name: tensor for name, tensor in state.items() if name != "gamma.scale"}
    return {**ours, "gamma": state["gamma.scale"].reshape(1)} if "gamma.scale" in state else ours


def _with_classes_of(config: CCNetConfig, checkpoint: Checkpoint, renamed: Renamed) -> CCNetConfig:
    """Return `config` with as many classes as the file's classifier has, under the file's names if it has them."""
    if CLASSIFIER not in renamed.tensors:
        return config
    count, *others = renamed.tensors[CLASSIFIER].shape or (0,)
    if count == 0 or others != [config.head.channels, 1, 1]:  # no classifier of this network: `fill` refuses it
        return config
    classes = checkpoint.classes if checkpoint.classes and len(checkpoint.classes) == count else None
    palette = checkpoint.palette if checkpoint.palette and len(checkpoint.palette) == count else None
    return config.with_classes(count, classes, palette)
