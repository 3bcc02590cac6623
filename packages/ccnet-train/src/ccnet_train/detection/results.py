"""Detections in the form of COCO's results (https://cocodataset.org/#format-results)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ccnet_core.errors import CCNetError
from ccnet_train.detection.detections import Detections


def coco_results(detections: Detections, classes: Sequence[str], *, image: int | str) -> list[dict[str, Any]]:
    """Return an object for each detection, the best score first.

    `image_id` is `image`; `category_id` the class from 0 and `category` its name; `bbox` left, top, width and height in
    pixels; `segmentation` the mask as COCO's compressed run lengths, `size` being height and width. Raises CCNetError
    if pycocotools is not installed.
    """
    return [
        {
            "image_id": image,
            "category_id": int(label),
            "category": classes[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": float(score),
            "segmentation": encode_mask(mask),
        }
        for (left, top, right, bottom), label, score, mask in zip(
            detections.boxes.tolist(), detections.classes, detections.scores, detections.masks, strict=True
        )
    ]


def encode_mask(mask: "np.ndarray[Any, np.dtype[np.bool_]]") -> dict[str, Any]:
    """Return a mask, bool (H, W), as COCO's compressed run lengths."""
    try:
        from pycocotools import mask as runs
    except ModuleNotFoundError:
        raise CCNetError(
            'COCO\'s form of masks needs pycocotools: python -m pip install "ccnet-train[detection]"'
        ) from None
    encoded = runs.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(edge) for edge in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
