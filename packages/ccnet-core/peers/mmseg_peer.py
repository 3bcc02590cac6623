"""mmsegmentation's own models beside ours, on the same weights.

Import this before anything of mmsegmentation. `nox -s peers` installs what it needs.
"""

import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from torch import Tensor, nn

import ccnet_core as ccnet
from ccnet_core import layouts


def provide_operators() -> None:
    """Let mmsegmentation be imported with mmcv-lite, whose `mmcv.ops` lacks its compiled half.

    Criss-cross attention is pure Python and comes from mmcv's own file. The other names are asked for at import, but
    no model of CCNet uses them.
    """
    spec = importlib.util.spec_from_file_location("cc_attention", Path(mmcv.__file__).parent / "ops/cc_attention.py")
    attention = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(attention)
    operators = types.ModuleType("mmcv.ops")
    operators.CrissCrossAttention = attention.CrissCrossAttention
    operators.point_sample = operators.PSAMask = operators.sigmoid_focal_loss = None
    sys.modules["mmcv.ops"] = operators


provide_operators()

import mmseg.models  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

init_default_scope("mmseg")

CONFIGS = Path(mmseg.__file__).parent / ".mim/configs/ccnet"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`theirs` and `ours` are the same network with the same weights, in evaluation mode."""

    theirs: nn.Module
    ours: ccnet.CCNet


def make_pair(name: str, changes: dict[str, Any] | None = None) -> Pair:
    """Build a model of the zoo twice; `changes` replace settings of mmsegmentation, by dotted name."""
    settings = settings_of(name)
    settings.merge_from_dict(changes or {})
    theirs, ours = MODELS.build(settings.model), ccnet.CCNet.from_config(name)
    theirs.cfg = settings
    fill(theirs)
    state = {our_name(key): tensor for key, tensor in theirs.state_dict().items()}
    gamma = "head.attention.cca.gamma"
    ours.load_state_dict({**state, gamma: state[gamma].view(1)})
    return Pair(theirs=theirs.eval(), ours=ours.eval())


def settings_of(name: str) -> Config:
    """Return mmsegmentation's own configuration, without a download and for one process on a CPU."""
    settings = Config.fromfile(CONFIGS / f"{name}.py")
    settings.model.pretrained = None
    for part in (settings.model.backbone, settings.model.decode_head, settings.model.auxiliary_head):
        part.norm_cfg.type = "BN"
    return settings


def our_name(key: str) -> str:
    """Return our name of a parameter or buffer of mmsegmentation."""
    return layouts.our_name(key, "mmseg")


def fill(model: nn.Module) -> None:
    """Draw weights with which nothing is an identity, no softmax is saturated and 101 layers stay finite."""
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 4:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
            # Filters without a mean, or the brightness of a picture decides every class.
            tensor -= tensor.mean(dim=(1, 2, 3), keepdim=True)
            tensor *= 4 if "conv_seg" in name else 1
        elif name.endswith("gamma.scale"):
            tensor.fill_(0.7)
        elif name.endswith((".weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
            tensor *= 0.2 if ".bn3.weight" in name else 1
        elif name.endswith((".bias", "running_mean")):
            tensor.normal_(std=0.1)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a picture (height, width, 3), BGR, uint8: waves under noise, no two channels alike."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width, :1][:2]
    period, phase = random.uniform(8, 60, (2, 3)), random.uniform(0, 6, 3)
    waves = [128, 90, 150] + 60 * np.sin(x / period[0] + phase) + 40 * np.sin(y / period[1])
    return np.clip(waves + random.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def rgb(bgr: np.ndarray) -> np.ndarray:
    """Return the same picture as ccnet_core takes it."""
    return np.ascontiguousarray(bgr[..., ::-1])


def label_map(height: int, width: int, classes: int, seed: int = 0) -> Tensor:
    """Return labels (height, width): blocks of one class, a tenth of them ignored (255)."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, classes, (-(-height // 8), -(-width // 8)))
    blocks[random.uniform(size=blocks.shape) < 0.1] = 255
    return torch.from_numpy(blocks.repeat(8, 0).repeat(8, 1)[:height, :width].copy())
