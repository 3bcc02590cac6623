"""The training of a recipe on CamVid in a plain loop, with mmsegmentation's model, initialisation and metric.

Nothing of ccnet-train runs here but the reading of the recipe. Pictures and augmentation are those of ccnet-data, drawn
in an order of this loop's own.
"""

from collections.abc import Iterator
from typing import Any

import mmseg_peer  # noqa: F401  (makes mmsegmentation importable, so before anything of it)
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.models.backbones import ResNetV1c
from mmseg.models.backbones.resnet import BasicBlock
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import ccnet_data
from ccnet_train.recipe import Recipe

NORM = {"type": "BN", "requires_grad": True}


@MODELS.register_module()
class SmallResNetV1c(ResNetV1c):
    """mmsegmentation's ResNet with one block a stage, a depth that it has no name for."""

    arch_settings = {10: (BasicBlock, (1, 1, 1, 1))}  # noqa: RUF012  as in the class that it replaces


def build_model(recurrence: int, classes: int) -> nn.Module:
    """Return `ccnet_small` in mmsegmentation's classes, freshly initialised by its own rules."""
    head = {"num_classes": classes, "norm_cfg": NORM, "dropout_ratio": 0.1, "align_corners": False}
    model = MODELS.build(
        {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
            },
            "backbone": {
                "type": "SmallResNetV1c",
                "depth": 10,
                "stem_channels": 32,
                "base_channels": 32,
                "num_stages": 3,
                "strides": (1, 2, 1),
                "dilations": (1, 1, 2),
                "out_indices": (0, 1, 2),
                "norm_cfg": NORM,
                "contract_dilation": True,
            },
            "decode_head": {
                "type": "CCHead",
                "in_channels": 128,
                "in_index": 2,
                "channels": 128,
                "recurrence": recurrence,
                **head,
            },
            "auxiliary_head": {
                "type": "FCNHead",
                "in_channels": 64,
                "in_index": 1,
                "channels": 64,
                "num_convs": 1,
                "concat_input": False,
                **head,
            },
            "test_cfg": ConfigDict(mode="whole"),
        }
    )
    model.init_weights()
    return model


class Augmented(Dataset):
    """The training split, augmented with random numbers of one generator."""

    def __init__(self, recipe: Recipe) -> None:
        self.samples = ccnet_data.load(recipe.data.name, split="train", root=recipe.data.root)
        self.augment = ccnet_data.TrainAugment(**recipe.augment)
        self.random = np.random.default_rng(recipe.seed)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sample = self.augment(self.samples[index], self.random)
        return torch.from_numpy(sample["image"]), torch.from_numpy(sample["label"]).long()


def class_weights(labels: Iterator[np.ndarray], classes: int) -> Tensor:
    """Return frequency^-0.5 of each class, 1 on average over the pixels of `labels`."""
    counts = sum(np.bincount(label.ravel(), minlength=256)[:classes] for label in labels)
    weights = (counts / counts.sum()) ** -0.5
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


def forever(loader: DataLoader) -> Iterator[Any]:
    """Give the batches of one epoch after another."""
    while True:
        yield from loader


def train(recipe: Recipe) -> dict[str, float]:
    """Train as `recipe` says; print the scores of each evaluation and return the last: "mIoU", "mAcc", "aAcc", 0-1."""
    MMLogger.get_current_instance().setLevel("ERROR")
    torch.manual_seed(recipe.seed)
    data, total = Augmented(recipe), recipe.train.iterations
    classes = data.samples.classes
    model = build_model(2 if recipe.model.recurrence is None else recipe.model.recurrence, len(classes))
    model.to(memory_format=torch.channels_last if recipe.train.channels_last else torch.contiguous_format)
    weights = class_weights((sample["label"] for sample in data.samples), len(classes))
    optimiser = torch.optim.AdamW(model.parameters(), recipe.optimiser.lr, weight_decay=recipe.optimiser.weight_decay)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, total, recipe.schedule.power)
    loader = DataLoader(data, recipe.train.images_per_step, shuffle=True, drop_last=True)
    for step, (images, labels) in zip(range(1, total + 1), forever(loader), strict=False):
        model.train()
        features = model.extract_feat(normalised(model, images))
        main, auxiliary = (
            # Not mmsegmentation's loss, which fails where a pixel is ignored and classes have weights.
            F.cross_entropy(upsampled(head(features), labels), labels, weights, ignore_index=255)
            for head in (model.decode_head, model.auxiliary_head)
        )
        optimiser.zero_grad()
        (main + recipe.loss.auxiliary_weight * auxiliary).backward()
        optimiser.step()
        schedule.step()
        if step % recipe.evaluate.every == 0 or step == total:
            scores = evaluate(model, recipe)
            print(f"step {step}: {scores}", flush=True)
    return scores


def normalised(model: nn.Module, images: Tensor) -> Tensor:
    """Return `images`, bytes, as mmsegmentation's own preprocessor gives them to the model."""
    return model.data_preprocessor({"inputs": list(images)})["inputs"]


def upsampled(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `logits` in the size of `labels` (B, H, W)."""
    return F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)


@torch.no_grad()
def evaluate(model: nn.Module, recipe: Recipe) -> dict[str, float]:
    """Return mIoU, mAcc and aAcc, from 0 to 1 and rounded to 4 places, on the validation split at its own size."""
    samples = ccnet_data.load(recipe.data.name, split="val", root=recipe.data.root)
    metric = IoUMetric()
    metric.dataset_meta = {"classes": samples.classes}
    model.eval()
    for sample in samples:
        label = torch.from_numpy(sample["label"])
        size = tuple(label.shape)
        truth = SegDataSample(gt_sem_seg=PixelData(data=label[None].long()))
        truth.set_metainfo({"ori_shape": size, "img_shape": size, "pad_shape": size})
        results = model.test_step({"inputs": [torch.from_numpy(sample["image"])], "data_samples": [truth]})
        metric.process({}, [result.to_dict() for result in results])
    return {name: float(value) / 100 for name, value in metric.evaluate(len(samples)).items()}
