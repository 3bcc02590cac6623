"""FSDP2: parameters, gradients and optimiser state shared out among the processes instead of held by each.

`accelerate launch` switches it on. This room says which modules are gathered at a time, and gives the network back
whole where it is evaluated and saved.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

import ccnet_core as ccnet
from ccnet_core.activation_checkpointing import Checkpointed
from ccnet_train.errors import TrainError
from ccnet_train.launch import Accelerator

if TYPE_CHECKING:
    from ccnet_train.tasks.interface import Network


def unit_classes(network: ccnet.CCNet) -> list[str]:
    """Return the class names of the modules that are gathered at a time: the stem, each residual block, each head."""
    return sorted({type(module).__name__ for module in network.modules() if isinstance(module, Checkpointed)})


def choose_units(network: "Network", accelerator: Accelerator) -> None:
    """Tell accelerate, if it shards, what the units of `network` are, so that its configuration need not name them.

    Comes before `accelerator.prepare`. Raises TrainError for the first version of FSDP, and for networks of objects,
    whose parts are not called one after another.
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        return
    if not isinstance(network, ccnet.CCNet):
        raise TrainError("The launch shards weights (FSDP), which this network does not take. Launch without it.")
    if plugin.fsdp_version != 2:
        raise TrainError("The launch asks for FSDP 1. Set fsdp_version: 2 in accelerate's configuration file.")
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = unit_classes(network)


def whole(network: ccnet.CCNet) -> ccnet.CCNet:
    """Return `network` if it is not sharded, else a copy with all weights. Called by all processes together.

    The copy can be used by one process alone: a sharded network waits for the others at every call.
    """
    if not isinstance(network, FSDPModule):
        return network
    weights = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))
    with torch.device("meta"):
        copy = ccnet.CCNet(network.config).to(network.dtype)
    copy.to_empty(device=network.device)
    copy.load_state_dict(weights)
    return copy


def local(tensor: Tensor) -> Tensor:
    """Return what of `tensor` lies in this process: all of it, or its shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """Return all of `tensor`, sharded or not. Called by all processes together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_out(value: Tensor, like: Tensor) -> Tensor:
    """Return `value`, which all processes have, sharded as `like` is. Called by all processes together."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
