"""Mask R-CNN of torchvision with criss-cross attention in its backbone, for objects and their masks.

torchvision comes with the extra `detection`, and is imported when :class:`MaskRCNN` is asked for, not before.
"""

from typing import TYPE_CHECKING, Any

from ccnet_train.detection.config import DetectorConfig, list_detectors
from ccnet_train.detection.detections import Detections, Target
from ccnet_train.detection.predict import predict_instances
from ccnet_train.detection.render import draw_detections
from ccnet_train.errors import TrainError

if TYPE_CHECKING:
    from ccnet_train.detection.convert import convert_torchvision
    from ccnet_train.detection.network import MaskRCNN

__all__ = [
    "Detections",
    "DetectorConfig",
    "MaskRCNN",
    "Target",
    "convert_torchvision",
    "draw_detections",
    "list_detectors",
    "predict_instances",
]

LAZY = {"MaskRCNN": "network", "convert_torchvision": "convert"}
"""The names that need torchvision, and where they are."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    require_torchvision()
    return getattr(import_module(f"{__name__}.{LAZY[name]}"), name)


def require_torchvision() -> None:
    """Raise TrainError, with what to install, unless torchvision is here and fits this torch."""
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        raise TrainError(
            'Instance segmentation needs torchvision: python -m pip install "ccnet-train[detection]"'
        ) from None
    except (ImportError, OSError, RuntimeError) as error:
        raise TrainError(
            f"torchvision does not fit this torch ({error}). Install both from the same index: "
            "python -m pip install --upgrade torch torchvision"
        ) from error
