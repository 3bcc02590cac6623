"""preview.png: what a person sees of a network."""

from collections.abc import Iterator
from pathlib import Path

import torch

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_train.datasets import Sample, SampleDataset
from ccnet_train.tasks import task_of

PREVIEW_ROWS = 4


def write_preview(path: Path, model: ccnet.CCNet, dataset: SampleDataset) -> render.Array:
    """Write picture | truth | prediction of a few pictures, spread over `dataset`, as a PNG, and return that picture.

    It is (H, W, 3) uint8.
    """
    rows = []
    for sample in chosen(dataset):
        prediction = ccnet.predict(model, torch.tensor(sample["image"])).labels
        picture = task_of(dataset).picture(sample).transpose(1, 2, 0)
        rows.append(render.side_by_side(picture, sample["label"], prediction, dataset.palette))
    preview = render.stack(rows)
    render.write_png(path, preview)
    return preview


def chosen(dataset: SampleDataset) -> Iterator[Sample]:
    """Give the samples that a preview shows."""
    count = min(PREVIEW_ROWS, len(dataset))
    for row in range(count):
        yield dataset[row * len(dataset) // count]
