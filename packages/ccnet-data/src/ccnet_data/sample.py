"""The contract between a dataset and whoever reads it (entry-point group `ccnet.datasets`).

A sample holds numpy arrays only, so any trainer can read it. Normalising is the model's business: pictures stay bytes.
Whoever implements a dataset need not import this module; `ccnet_data.testing` says whether it conforms.

Shape letters: H height, W width.
"""

import operator
from typing import Protocol, SupportsIndex, TypedDict

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

    `image` is uint8 (3, H, W), RGB, 0-255. `label` is uint8 (H, W): a class index per pixel, 255 where ignored.
    Both arrays are C-contiguous, writable and belong to the caller. `id` names the sample within its split.
    """

    image: Pixels
    label: Pixels
    id: str


class SegmentationDataset(Protocol):
    """A sized, indexable split of a dataset. The same position always gives the same sample.

    Indices run from 0; one past the end raises IndexError, so that plain iteration works.
    """

    @property
    def api_version(self) -> int:
        """The version of the contract the dataset was written for."""
        ...

    @property
    def task(self) -> str:
        """What the labels mean: "segmentation"."""
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


def position(index: SupportsIndex, length: int) -> int:
    """Return `index` as an int in [0, length), counting negative ones from the end; IndexError outside."""
    number = operator.index(index)
    if not -length <= number < length:
        raise IndexError(f"index {number} is outside a dataset of {length} samples")
    return number % length
