"""Shards for the tests to read."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ccnet_data.sample import Labelled, Sample, position
from ccnet_data.shards.columns import Columns
from ccnet_data.shards.manifest import Manifest, shard_name, write_manifest
from ccnet_data.shards.write import write_shard

SIZES = ((1, 1), (1, 7), (33, 2), (48, 64), (5, 255))


class Noise(Labelled):
    """Pictures and labels of noise, of all sizes, with names that are hard to write."""

    def __init__(self, length: int = 10, frames: int = 0) -> None:
        super().__init__(classes=("a", "b", "c"), palette=((0, 0, 0), (1, 2, 3), (9, 9, 9)), flip_pairs=((0, 2),))
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "frames", (frames,) if frames else ())
        object.__setattr__(self, "task", "video" if frames else "segmentation")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        number = position(index, len(self))
        rng = np.random.default_rng(number)
        size = SIZES[number % len(SIZES)]
        image = rng.integers(0, 256, (*self.frames, 3, *size), np.uint8)
        label = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        if number == 3:
            label[:] = 255
        return {
            "image": image,
            "label": label,
            "id": ("é/木", "x" * 3000, "a b.png", "\U0001f6b2")[number % 4] + str(number),
        }


def write_shards(
    folder: Path,
    dataset: Labelled,
    encoding: str = "png",
    quality: int | None = None,
    bounds: Sequence[int] = (0, 4, 10),
) -> Manifest:
    """Write the samples between `bounds` of `dataset` to a shard each, as the split "train"."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = Columns(encoding=encoding, quality=quality, task=dataset.task, classes=len(dataset.classes))
    shards = tuple(
        write_shard(
            (dataset[index] for index in range(start, stop)),
            columns,
            folder / shard_name("train", number, len(bounds) - 1),
        )
        for number, (start, stop) in enumerate(pairwise(bounds))
    )
    manifest = Manifest(
        dataset="noise",
        encoding=encoding,
        quality=quality,
        task=dataset.task,
        classes=dataset.classes,
        palette=dataset.palette,
        flip_pairs=dataset.flip_pairs,
        splits={"train": shards},
    )
    write_manifest(manifest, folder)
    return manifest


def require_equal(one: Sample, other: Sample) -> None:
    """Fail unless two samples have the same bits."""
    assert one.keys() == other.keys()
    assert one["id"] == other["id"]
    for key in ("image", "label"):
        assert one[key].dtype == other[key].dtype
        np.testing.assert_array_equal(one[key], other[key])


@pytest.fixture
def noise() -> type[Noise]:
    """A dataset of noise: `noise(length=10, frames=0)`."""
    return Noise


@pytest.fixture
def shards() -> Callable[..., Manifest]:
    """Writes shards of a dataset: `shards(folder, dataset, encoding, quality, bounds)`."""
    return write_shards


@pytest.fixture
def same() -> Callable[[Sample, Sample], None]:
    """Fails unless two samples have the same bits."""
    return require_equal
