"""Semantic segmentation datasets and augmentation in numpy.

`load` opens a split, whose samples are `{"image": uint8 (3, H, W) RGB 0-255, "label": uint8 (H, W), "id": str}`.
"""

from importlib.metadata import version

from .augment import TrainAugment
from .errors import DataError
from .instances import InstanceAugment
from .registry import check, list_datasets, load
from .sample import API_VERSION, Instances, Sample, SegmentationDataset
from .warp import WarpAugment, warp_back

__version__ = version("ccnet-data")

__all__ = [
    "API_VERSION",
    "DataError",
    "InstanceAugment",
    "Instances",
    "Sample",
    "SegmentationDataset",
    "TrainAugment",
    "WarpAugment",
    "__version__",
    "check",
    "list_datasets",
    "load",
    "warp_back",
]
