"""The contract between a dataset and whoever reads it (entry-point group `ccnet.datasets`).

A sample holds numpy arrays only, so any trainer can read it. Normalising is the model's business: pictures stay bytes.
Whoever implements a dataset need not import this module; `ccnet_data.testing` says whether it conforms.

Shape letters: T frames, H height, W width, N objects.
"""

import operator
from dataclasses import dataclass
from typing import NotRequired, Protocol, SupportsIndex, TypedDict

import numpy as np
from numpy.typing import NDArray

API_VERSION = 1
"""The version of this contract. A trainer refuses a dataset with an `api_version` it does not speak."""

IGNORE_INDEX = 255
"""The label of pixels that count in no loss and no metric."""

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


class Sample(TypedDict):
    """One picture with its labels.

    `image` is uint8 (3, H, W), RGB, 0-255; that of a clip (T, 3, H, W). `label` is uint8 (H, W): a class index per
    pixel, 255 where ignored; that of a clip belongs to its last frame. Arrays are C-contiguous, writable and belong to
    the caller. `id` names the sample within its split.

    `warp`, float64 (2, 3), and `original_size`, (height, width), are there where the sample was warped: the matrix
    takes (column, row, 1) of the original picture to (column, row) of the warped one. Whole numbers are the centres of
    pixels: (0, 0) is that of the upper left one. `replaces` is there where the sample stands in for a damaged one, and
    holds the error.
    """

    image: Pixels
    label: Pixels
    id: str
    warp: NotRequired[NDArray[np.float64]]
    original_size: NotRequired[tuple[int, int]]
    replaces: NotRequired[str]


class Instances(TypedDict):
    """One picture with its objects, of a dataset whose task is "instances".

    `image` is uint8 (3, H, W), RGB, 0-255. `boxes` is float32 (N, 4): left, top, right, bottom in pixels. `masks` is
    bool (N, H, W). `classes` is int64 (N,), positions in the dataset's `classes`. `crowd` is bool (N,): regions of many
    objects, which count as background in no loss and in no score. `areas`, float64 (N,), are there where a file gives
    them: COCO's scores tell small objects from large ones by them and not by the masks. `replaces` is as in `Sample`.
    """

    image: Pixels
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NotRequired[NDArray[np.float64]]
    id: str
    replaces: NotRequired[str]


class SegmentationDataset(Protocol):
    """A sized, indexable split of a dataset. The same position always gives the same sample, also in a pickled copy.

    Indices run from 0; one past the end raises IndexError, so that plain iteration works.
    """

    @property
    def api_version(self) -> int:
        """The version of the contract the dataset was written for."""
        ...

    @property
    def task(self) -> str:
        """What a sample is: "segmentation", "video" for clips with the label of their last frame, or "instances"."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label value is a position here. 1 to 255 names."""
        ...

    @property
    def palette(self) -> tuple[Colour, ...]:
        """One RGB colour per class, 0-255."""
        ...

    @property
    def ignore_index(self) -> int:
        """The label value without a class: 255."""
        ...

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes that a mirror image swaps, such as left and right arm; mostly empty."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return the sample at `index`. Raises IndexError outside the split and DataError for a damaged file."""
        ...


class SampleOrder(Protocol):
    """The order in which a trainer sees the samples of a dataset, all epochs one after another."""

    def index_at(self, position: int, /) -> int:
        """Return the index of the sample at `position`, from 0 on: always the same one, in a pickled copy as well.

        The positions [e * N, (e + 1) * N) of epoch e, N samples long, stand for each index once.
        """
        ...


class OrderedDataset(SegmentationDataset, Protocol):
    """A dataset that says in which order it is best read, as one whose files are fetched does. Most do not."""

    def order(self, seed: int, /) -> SampleOrder:
        """Return the order that belongs to `seed`, from 0 on. A trainer that shuffles takes it instead of its own."""
        ...


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a split of labelled pictures tells about itself, for the datasets of this package."""

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

    api_version = API_VERSION
    task = "segmentation"
    ignore_index = IGNORE_INDEX


def position(index: SupportsIndex, length: int) -> int:
    """Return `index` as an int in [0, length), counting negative ones from the end; IndexError outside."""
    number = operator.index(index)
    if not -length <= number < length:
        raise IndexError(f"index {number} is outside a dataset of {length} samples")
    return number % length
