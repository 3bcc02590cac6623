"""Published checkpoints to models: mmsegmentation's, the authors', and ImageNet backbones of several origins."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ccnet_core.model import CCNet
from ccnet_core.transplant import transplant


def convert_checkpoint(path: str | Path, *, model: str, layout: str = "auto") -> CCNet:
    """Load a checkpoint of another program into the network named `model`, in evaluation mode.

    Reads torch.save files of any age and safetensors; no code in them can run. `layout` is one of
    :data:`ccnet_core.layouts.LAYOUTS`; "auto" knows them by their names. A file trained for another number of classes
    gives a model with that number. A file with a backbone only leaves the heads at random, and the log says so.
    Raises ConfigError for an unknown model or layout, and WeightsError for a file that is damaged, of another network,
    or has NaN or infinite weights.
    """
    return transplant(path, CCNet, model=model, layout=layout).model


def attention_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of mmcv's CrissCrossAttention with the names and shapes of ours.

    The two differ in `gamma`: mmcv has `gamma.scale` of shape (). A state dict of the authors' module has our names.
    """
    ours = {name: tensor for name, tensor in state.items() if name != "gamma.scale"}
    return {**ours, "gamma": state["gamma.scale"].reshape(1)} if "gamma.scale" in state else ours
