"""Damaged samples replaced by others, for training that goes on."""

import logging
from typing import SupportsIndex

import numpy as np

from .errors import DataError, FetchError
from .sample import Sample, SegmentationDataset, position

ATTEMPTS = 10

logger = logging.getLogger(__name__)


class Replacing:
    """`dataset` in which a sample that cannot be read is another one, chosen by its position alone.

    Every replacement is logged as a warning with the error, and counted in `replaced`, per process. The sample that
    stands in has the text of the error under "replaces". Raises the first error when 10 others cannot be read either,
    and FetchError at once: what cannot be fetched now is not damaged.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset
        self.replaced = 0
        self.api_version, self.task = dataset.api_version, dataset.task
        self.classes, self.palette = dataset.classes, dataset.palette
        self.ignore_index, self.flip_pairs = dataset.ignore_index, dataset.flip_pairs
        if hasattr(dataset, "order"):
            self.order = dataset.order

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, len(self))
        try:
            return self.dataset[number]
        except FetchError:
            raise
        except DataError as error:
            return self._other(number, error)

    def _other(self, number: int, error: DataError) -> Sample:
        rng = np.random.default_rng(number)
        for _ in range(ATTEMPTS):
            other = int(rng.integers(len(self)))
            try:
                sample = self.dataset[other]
            except FetchError:
                raise
            except DataError:
                continue
            self.replaced += 1
            logger.warning("sample %d replaced by %d (%d in this process): %s", number, other, self.replaced, error)
            return {**sample, "replaces": str(error)}
        raise error
