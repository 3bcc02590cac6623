"""Files of torchvision into a Mask R-CNN: an ImageNet backbone, read without running any code of the file."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ccnet_core.checkpoint import read_checkpoint
from ccnet_core.context_block import NAME
from ccnet_core.errors import WeightsError
from ccnet_core.torch_file import StoredTensor

COUNTER = "num_batches_tracked"
"""Of a batch norm, which a frozen one and files of old versions of torch have not."""


def load_backbone(body: nn.Module, path: str | Path, *, what: str) -> None:
    """Copy a ResNet of ImageNet in torchvision's or timm's names into `body`, which errors call `what`.

    Its classifier `fc` is left out, and attention in `body` stays as it is. Raises WeightsError if the file is damaged
    or of another network.
    """
    stored = read_checkpoint(path).tensors
    fill(
        {name: value for name, value in body.state_dict().items() if f".{NAME}." not in name},
        {name: tensor for name, tensor in stored.items() if not name.startswith("fc.")},
        where=path,
        what=what,
    )


def fill(targets: Mapping[str, Tensor], stored: Mapping[str, StoredTensor], *, where: str | Path, what: str) -> None:
    """Copy `stored` into the `targets` of the same names, all of them but for counters of batches.

    Raises WeightsError, which names the file `where` and the network `what`, before anything is copied, unless names
    and shapes are the same; and for numbers that are not finite, after which `targets` are of no use.
    """
    wanted = {name for name in targets if not name.endswith(COUNTER)}
    given = {name: tensor for name, tensor in stored.items() if name in targets or not name.endswith(COUNTER)}
    faults = [f"it lacks {name!r}" for name in sorted(wanted - given.keys())]
    faults += [f"{name!r} has no place there" for name in sorted(given.keys() - targets.keys())]
    faults += [
        f"{name!r} is {tensor.shape}, needed is {tuple(targets[name].shape)}"
        for name, tensor in given.items()
        if name in targets and tensor.shape != tuple(targets[name].shape)
    ]
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise WeightsError(f"{where}: does not fit {what}: {faults[0]}{more}. Give a file of this network.")
    for name, tensor in given.items():
        value = tensor.read()
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(f"{where}: {name!r} has NaN or infinite numbers. Fetch or save it again.")
        targets[name].copy_(value)
