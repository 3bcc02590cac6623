"""The names that other programs give to the tensors of a CCNet or of its backbone, and ours for them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ccnet_core.checkpoint import Checkpoint
from ccnet_core.errors import ConfigError, WeightsError, nearest
from ccnet_core.torch_file import StoredTensor

STAGES = ("layer1", "layer2", "layer3", "layer4")
SAME_STAGES = {stage: stage for stage in STAGES}
PLAIN_STEM = {"conv1": "stem.0", "bn1": "stem.1"}
THREE_CONVOLUTIONS = {
    **{f"conv{step + 1}": f"stem.{3 * step}" for step in range(3)},
    **{f"bn{step + 1}": f"stem.{3 * step + 1}" for step in range(3)},
}
TIMM_DEEP_STEM = {**{f"conv1.{place}": f"stem.{place}" for place in (0, 1, 3, 4, 6)}, "bn1": "stem.7"}

IMAGENET_CLASSIFIER = {"fc": "the ImageNet classifier", "last_linear": "the ImageNet classifier"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one program names its tensors.

    `telltale` is a tensor that only such files have. `renames` and `dropped` go by the beginning of a name up to a dot,
    and the longest one that fits counts: to our beginning, or to the reason why such tensors are left out.
    `inplace_abn` says that its batch norms use abs(weight) + 1e-5.
    """

    telltale: str
    renames: Mapping[str, str]
    dropped: Mapping[str, str] = field(default_factory=dict)
    inplace_abn: bool = False


def _in_backbone(renames: Mapping[str, str], *, prefix: str = "") -> dict[str, str]:
    return {prefix + theirs: f"backbone.{ours}" for theirs, ours in renames.items()}


NETWORKS = {
    "ccnet": Layout(
        telltale="head.classify.conv.weight",
        renames={"backbone": "backbone", "head": "head", "auxiliary_head": "auxiliary_head"},
    ),
    # mmsegmentation, all versions; its ResNet has a plain stem beside the deep one.
    "mmseg": Layout(
        telltale="decode_head.conv_seg.weight",
        renames={
            "backbone": "backbone",
            **_in_backbone(PLAIN_STEM, prefix="backbone."),
            "decode_head.convs.0.conv": "head.reduce.conv",
            "decode_head.convs.0.bn": "head.reduce.norm",
            "decode_head.cca": "head.attention.cca",
            "decode_head.cca.gamma.scale": "head.attention.cca.gamma",
            "decode_head.convs.1.conv": "head.refine.conv",
            "decode_head.convs.1.bn": "head.refine.norm",
            "decode_head.conv_cat.conv": "head.fuse.conv",
            "decode_head.conv_cat.bn": "head.fuse.norm",
            "decode_head.conv_seg": "head.classify.conv",
            "auxiliary_head.convs.0.conv": "auxiliary_head.reduce.conv",
            "auxiliary_head.convs.0.bn": "auxiliary_head.reduce.norm",
            "auxiliary_head.conv_seg": "auxiliary_head.classify.conv",
        },
    ),
    # speedinghzl/CCNet, networks/ccnet.py
    "official": Layout(
        telltale="head.conva.0.weight",
        renames={
            **_in_backbone(SAME_STAGES),
            **_in_backbone(THREE_CONVOLUTIONS),
            "head.conva.0": "head.reduce.conv",
            "head.conva.1": "head.reduce.norm",
            "head.cca": "head.attention.cca",
            "head.convb.0": "head.refine.conv",
            "head.convb.1": "head.refine.norm",
            "head.bottleneck.0": "head.fuse.conv",
            "head.bottleneck.1": "head.fuse.norm",
            "head.bottleneck.3": "head.classify.conv",
            "dsn.0": "auxiliary_head.reduce.conv",
            "dsn.1": "auxiliary_head.reduce.norm",
            "dsn.3": "auxiliary_head.classify.conv",
        },
        inplace_abn=True,
    ),
}

# Our names here are those below `backbone.`.
BACKBONES = {
    # Our own, and mmsegmentation's open-mmlab://resnet50_v1c and resnet101_v1c.
    "mmseg-backbone": Layout(
        telltale="stem.0.weight", renames={"stem": "stem", **SAME_STAGES}, dropped=IMAGENET_CLASSIFIER
    ),
    # timm's resnet50c, resnet101c and resnet50s
    "timm": Layout(telltale="conv1.0.weight", renames={**TIMM_DEEP_STEM, **SAME_STAGES}, dropped=IMAGENET_CLASSIFIER),
    # The authors' resnet101-imagenet.pth, from MIT's semantic-segmentation-pytorch. Its batch norms are plain ones.
    "official-backbone": Layout(
        telltale="conv2.weight", renames={**THREE_CONVOLUTIONS, **SAME_STAGES}, dropped=IMAGENET_CLASSIFIER
    ),
    # torchvision, and timm's ResNets with the same stem
    "torchvision": Layout(telltale="conv1.weight", renames={**PLAIN_STEM, **SAME_STAGES}, dropped=IMAGENET_CLASSIFIER),
}
"""The layouts of a backbone alone, trained on ImageNet, by name."""

LAYOUTS = {**NETWORKS, **BACKBONES}
"""All layouts by name, in the order in which they are looked for: the first telltale that is there counts."""


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """The tensors of a checkpoint under our names; those of a backbone without `backbone.`.

    `theirs` has the file's name for each of ours. `unknown` are the file's names that the layout does not have,
    `dropped` those left out on purpose, with the reason.
    """

    path: Path
    layout: str
    tensors: Mapping[str, StoredTensor]
    theirs: Mapping[str, str]
    unknown: tuple[str, ...]
    dropped: Mapping[str, str]


def rename(checkpoint: Checkpoint, layout: str = "auto") -> Renamed:
    """Give the tensors of `checkpoint` our names.

    Raises ConfigError for an unknown `layout`, and WeightsError if the file has another one, has none of those known,
    or is a ResNet with average pooling in its shortcuts.
    """
    found = _find_layout(checkpoint, layout)
    _refuse_average_pooling(checkpoint)
    theirs: dict[str, str] = {}
    unknown, dropped = [], {}
    for name in checkpoint.tensors:
        ours, reason = our_name(name, found), _beginning(name, LAYOUTS[found].dropped)
        if reason:
            dropped[name] = LAYOUTS[found].dropped[reason]
        elif ours is None or ours in theirs:
            unknown.append(name)
        else:
            theirs[ours] = name
    tensors = {ours: checkpoint.tensors[name] for ours, name in theirs.items()}
    return Renamed(
        path=checkpoint.path, layout=found, tensors=tensors, theirs=theirs, unknown=tuple(unknown), dropped=dropped
    )


def our_name(name: str, layout: str) -> str | None:
    """Return our name for the tensor `name` of a layout, or None if the layout has no such tensor."""
    renames = LAYOUTS[layout].renames
    beginning = _beginning(name, renames)
    return renames[beginning] + name.removeprefix(beginning) if beginning else None


def _find_layout(checkpoint: Checkpoint, asked: str) -> str:
    if asked not in ("auto", *LAYOUTS):
        raise ConfigError(f"There is no layout {asked!r}.{nearest(asked, ['auto', *LAYOUTS])}")
    found = next((name for name, layout in LAYOUTS.items() if layout.telltale in checkpoint.tensors), None)
    if found is None:
        first = ", ".join(map(repr, list(checkpoint.tensors)[:3]))
        raise WeightsError(f"{checkpoint.path}: of none of the known layouts ({', '.join(LAYOUTS)}). It has {first}.")
    if asked not in ("auto", found):
        raise WeightsError(f"{checkpoint.path}: not of the layout {asked!r}, but of {found!r}. Leave the layout out.")
    return found


def _refuse_average_pooling(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.tensors.items():
        # Behind a pooling layer the convolution is the second part of the shortcut, where we have the batch norm.
        if name.endswith(".downsample.1.weight") and len(tensor.shape) == 4:
            raise WeightsError(
                f"{checkpoint.path}: a ResNet-D: it has average pooling in its shortcuts ({name!r} is a convolution), "
                "and no model here has. Take a ResNet or a ResNet-C, such as timm's resnet50c."
            )


def _beginning(name: str, known: Collection[str]) -> str:
    """Return the longest of `known` that `name` begins with, up to a dot or its end, or nothing."""
    parts = name.split(".")
    beginnings = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((beginning for beginning in beginnings if beginning in known), "")
