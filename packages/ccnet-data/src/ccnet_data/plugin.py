"""What a trainer finds behind the entry-point group `ccnet.datasets`, without importing this package by name."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from . import registry
from .augment import TrainAugment
from .errors import DataError, nearest
from .instances import InstanceAugment
from .options import Options, build
from .sample import API_VERSION, Sample, SegmentationDataset
from .warp import WarpAugment

Augmentation = Callable[[Sample, np.random.Generator], Sample]

AUGMENTATIONS: Mapping[str, type[Options]] = {
    "crop": TrainAugment,
    "warp": WarpAugment,
    "instances": InstanceAugment,
}


class Provider:
    """The datasets and augmentation of this distribution, written for `api_version` of the samples contract."""

    name = "ccnet-data"
    version = version("ccnet-data")
    api_version = API_VERSION

    def datasets(self) -> tuple[str, ...]:
        """Return the names that `check` and `load` take."""
        return registry.list_datasets()

    def check(self, name: str, options: Mapping[str, object]) -> list[str]:
        """Return one sentence for each fault, all at once and before any work."""
        return registry.check(name, options)

    def load(self, name: str, split: str, **options: Any) -> SegmentationDataset:
        """Open a split of the dataset `name`. Raises DataError, a ValueError whose text holds the remedy."""
        return registry.load(name, split, **options)

    def augmentation(self, spec: Mapping[str, object] | None) -> Augmentation:
        """Return a pure function of (sample, generator), made of the arguments in `spec`.

        The key "kind" chooses `TrainAugment` ("crop", also without the key), `WarpAugment` ("warp") or, for samples
        with objects, `InstanceAugment` ("instances"). None gives the sample back as it is. Raises DataError with all
        faults, unknown keys with the nearest ones.
        """
        if spec is None:
            return _unchanged
        arguments = dict(spec)
        kind = arguments.pop("kind", "crop")
        if not isinstance(kind, str) or kind not in AUGMENTATIONS:
            raise DataError(f"There is no kind {kind!r} of augmentation.{nearest(str(kind), AUGMENTATIONS)}")
        return cast(Augmentation, build(AUGMENTATIONS[kind], arguments))


def _unchanged(sample: Sample, _rng: np.random.Generator) -> Sample:
    return sample


provider = Provider()
