"""Detections in the form of COCO's results (https://cocodataset.org/#format-results)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccnet_core.errors import CCNetError
from ccnet_train.detection.detections import Detections
from ccnet_train.detection.packed import PackedDetections


def coco_results(
    detections: Detections | PackedDetections, classes: Sequence[str], *, image: int | str
) -> list[dict[str, Any]]:
    """Return an object for each detection, the best score first.

    `image_id` is `image`; `category_id` the class from 0 and `category` its name; `bbox` left, top, width and height in
    pixels; `segmentation` the mask as COCO's compressed run lengths, `size` being height and width. Raises CCNetError
    if pycocotools is not installed.
    """
    objects = zip(detections.classes, detections.boxes, detections.masks, detections.scores, strict=True)
    return [
        {"image_id": image, **coco_object(label, box, mask), "category": classes[label], "score": float(score)}
        for label, box, mask, score in objects
    ]


def coco_object(label: np.int64, box: NDArray[np.float32], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what a true and a found object have in common: `category_id`, `bbox` and `segmentation`."""
    left, top, right, bottom = box.tolist()
    bbox = [left, top, right - left, bottom - top]
    return {"category_id": int(label), "bbox": bbox, "segmentation": encode_mask(mask)}


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask, bool (H, W), as COCO's compressed run lengths. Raises CCNetError without pycocotools."""
    try:
        from pycocotools import mask as runs
    except ModuleNotFoundError:
        raise CCNetError(
            'COCO\'s form of masks needs pycocotools: python -m pip install "ccnet-train[detection]"'
        ) from None
    encoded = runs.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(edge) for edge in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
