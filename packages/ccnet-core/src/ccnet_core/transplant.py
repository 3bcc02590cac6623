"""The tensors of a checkpoint into a network, every one of them accounted for."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor, nn

from ccnet_core import zoo
from ccnet_core.checkpoint import Checkpoint, read_checkpoint
from ccnet_core.config import BackboneConfig, CCNetConfig, HubBackboneConfig
from ccnet_core.errors import WeightsError
from ccnet_core.layouts import BACKBONES, LAYOUTS, NETWORKS, Renamed, rename
from ccnet_core.resnet import ResNet
from ccnet_core.tensors import shapes_only
from ccnet_core.torch_file import StoredTensor

COUNTER = "num_batches_tracked"
"""Of a batch norm. Files of torch before 0.4.1 and of InPlaceABN lack it: it then stays at the 0 of a new module."""

INPLACE_ABN_EPS = 1e-5

CLASSIFIER = "head.classify.conv.weight"

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Conversion(Generic[Network]):
    """A network in evaluation mode, its configuration, and what became of the tensors of the file.

    `dropped` has the file's names of those left out on purpose, with the reason.
    """

    model: Network
    config: CCNetConfig
    layout: str
    mapped: int
    dropped: Mapping[str, str]


def transplant(
    path: str | Path, build: Callable[[CCNetConfig], Network], *, model: str, layout: str = "auto"
) -> Conversion[Network]:
    """Load a checkpoint into what `build` makes of a configuration; see :func:`ccnet_core.convert_checkpoint`."""
    config = dataclasses.replace(zoo.load_config(model), published=None)  # the file may have been trained further
    checkpoint = read_checkpoint(path)
    renamed = rename(checkpoint, layout)
    if renamed.layout in BACKBONES:
        network = build(config)
        fill(network.get_submodule("backbone"), renamed, what=f"the backbone of {model}")
        logger.warning("%s: holds a backbone only: the heads of %s start at random.", path, model)
    else:
        published, config = config, _with_classes_of(config, checkpoint, renamed)
        network = build(config)
        fill(network, renamed, what=model)
        if config.classes not in (published.classes, checkpoint.classes):
            count = config.num_classes
            logger.warning("%s: has %d classes and does not name them all: class 0, class 1, ...", path, count)
    return Conversion(
        model=network.eval(),
        config=config,
        layout=renamed.layout,
        mapped=len(renamed.tensors),
        dropped=renamed.dropped,
    )


def _with_classes_of(config: CCNetConfig, checkpoint: Checkpoint, renamed: Renamed) -> CCNetConfig:
    """Return `config` with as many classes as the file's classifier has, under the file's names if it has them."""
    if CLASSIFIER not in renamed.tensors:
        return config
    count, *others = renamed.tensors[CLASSIFIER].shape or (0,)
    channels = config.head.channels if config.parsing is None else config.parsing.channels
    if count == 0 or others != [channels, 1, 1]:  # no classifier of this network: `fill` refuses it
        return config
    classes = checkpoint.classes if checkpoint.classes and len(checkpoint.classes) == count else None
    palette = checkpoint.palette if checkpoint.palette and len(checkpoint.palette) == count else None
    return config.with_classes(count, classes, palette)


def load_backbone(backbone: ResNet, path: str | Path, *, model: str) -> None:
    """Copy an ImageNet backbone, in any layout of :data:`ccnet_core.layouts.BACKBONES`, into that of `model`.

    Raises WeightsError if the file is damaged or of another network.
    """
    renamed = rename(read_checkpoint(path))
    if renamed.layout in NETWORKS:
        raise WeightsError(f"{path}: a whole network (layout {renamed.layout!r}). Load it with convert_checkpoint.")
    fill(backbone, renamed, what=f"the backbone of {model}")


def fill(module: nn.Module, renamed: Renamed, *, what: str) -> None:
    """Copy the tensors of `renamed` into `module`, which errors call `what`.

    Raises WeightsError, before anything is copied, unless the tensors are those of `module`: it says how many match and
    which one does not. Raises WeightsError for a wrong checksum, NaN, an infinite number or a variance below 0;
    `module` is then of no use.
    """
    expected = module.state_dict()
    problem = next(_problems(expected, renamed), None)
    if problem:
        matched = sum(name in expected and _fits(t, expected[name]) for name, t in renamed.tensors.items())
        total = len(renamed.tensors) + len(renamed.unknown)
        raise WeightsError(
            f"{renamed.path}: {matched} of its {total} tensors match {what}, which has {len(expected)}; "
            f"the first that does not: {problem}.{_other_models(expected, renamed)}"
        )
    for name, stored in renamed.tensors.items():
        target = expected[name]
        value = _read(stored, renamed).to(target.dtype).reshape(target.shape)
        if LAYOUTS[renamed.layout].inplace_abn and _is_norm_weight(name, expected):
            value = value.abs() + INPLACE_ABN_EPS
        _refuse_useless_numbers(value, name, renamed)
        target.copy_(value)


def _problems(expected: Mapping[str, Tensor], renamed: Renamed) -> Iterator[str]:
    yield from (f"{name!r} has no place in the layout {renamed.layout!r}" for name in renamed.unknown)
    for name, stored in renamed.tensors.items():
        if name not in expected:
            yield f"{renamed.theirs[name]!r} has no place in the model"
        elif not _fits(stored, expected[name]):
            found, needed = (f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in (stored, expected[name]))
            yield f"{renamed.theirs[name]!r} is {found}, needed is {needed}"
    for name in expected:
        if name not in renamed.tensors and not name.endswith(COUNTER):
            yield f"the file has nothing for {name!r}"


def _fits(stored: StoredTensor, target: Tensor) -> bool:
    same_kind = stored.dtype.is_floating_point == target.dtype.is_floating_point
    return same_kind and (stored.shape or (1,)) == (tuple(target.shape) or (1,))  # mmcv's gamma is (), ours (1,)


def _read(stored: StoredTensor, renamed: Renamed) -> Tensor:
    try:
        return stored.read()
    except WeightsError as error:
        raise WeightsError(f"{renamed.path}: {error}. Fetch or save it again.") from error


def _is_norm_weight(name: str, names: Mapping[str, Tensor]) -> bool:
    return name.endswith(".weight") and name.removesuffix("weight") + "running_var" in names


def _refuse_useless_numbers(value: Tensor, name: str, renamed: Renamed) -> None:
    if value.is_floating_point() and not value.isfinite().all():
        raise WeightsError(f"{renamed.path}: {renamed.theirs[name]!r} has NaN or infinite numbers.")
    if name.endswith(".running_var") and value.min() < 0:
        raise WeightsError(f"{renamed.path}: {renamed.theirs[name]!r} has a variance below 0.")


def _other_models(expected: Mapping[str, Tensor], renamed: Renamed) -> str:
    """Return a sentence with the models whose backbone is that of the file, or nothing if `expected` has it too."""
    prefix = "backbone." if renamed.layout in NETWORKS else ""
    found = _shapes(renamed.tensors, prefix)
    fitting = [name for name in zoo.list_models() if _shapes_of(zoo.load_config(name).backbone) == found]
    if not fitting or found == _shapes(expected, prefix):
        return ""
    more = f" and {len(fitting) - 2} more" if len(fitting) > 2 else ""
    return f" Its backbone is that of {', '.join(fitting[:2])}{more}."


@functools.cache
def _shapes_of(config: BackboneConfig | HubBackboneConfig) -> dict[str, tuple[int, ...]]:
    assert isinstance(config, BackboneConfig)  # the zoo has no others
    with shapes_only():
        return _shapes(ResNet(config).state_dict(), "")


def _shapes(tensors: Mapping[str, Tensor | StoredTensor], prefix: str) -> dict[str, tuple[int, ...]]:
    return {
        name.removeprefix(prefix): tuple(tensor.shape)
        for name, tensor in tensors.items()
        if name.startswith(prefix) and not name.endswith(COUNTER)
    }
