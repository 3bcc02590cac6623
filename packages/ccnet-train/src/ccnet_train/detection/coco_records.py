"""The true and the found objects of a picture, as COCO writes them: what an evaluation keeps."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ccnet_train.detection.detections import Detections
from ccnet_train.detection.results import coco_object
from ccnet_train.detection.samples import Instances

Annotation = dict[str, Any]
"""`category_id` (the class, from 0), `bbox` (left, top, width, height in pixels), `segmentation` (a compressed RLE);
of a true object also `area` and `iscrowd`, of a found one `score`."""


@dataclass(frozen=True, kw_only=True)
class PictureObjects:
    """The objects of one picture, which is number `index` of its split and has `size` (height, width)."""

    index: int
    id: str
    size: tuple[int, int]
    truth: tuple[Annotation, ...]
    found: tuple[Annotation, ...]

    def to_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "PictureObjects":
        """Read what :meth:`to_line` wrote: numbers come back exactly. Raises ValueError for anything else."""
        try:
            content = json.loads(line)
            height, width = map(int, content["size"])
            truth, found = tuple(content["truth"]), tuple(content["found"])
            return cls(
                index=int(content["index"]), id=str(content["id"]), size=(height, width), truth=truth, found=found
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the objects of a picture: {line[:80]}") from error


def picture_objects(index: int, sample: Instances, found: Detections) -> PictureObjects:
    """Return the objects of `sample` beside those `found` in it.

    Small, medium and large true objects are told apart by their `areas`, without these by the pixels of their masks.
    """
    areas = sample.get("areas", sample["masks"].sum((1, 2), dtype=np.float64))
    true = zip(sample["classes"], sample["boxes"], sample["masks"], areas, sample["crowd"], strict=True)
    truth = [
        {**coco_object(label, box, mask), "area": float(area), "iscrowd": int(crowd)}
        for label, box, mask, area, crowd in true
    ]
    objects = zip(found.classes, found.boxes, found.masks, found.scores, strict=True)
    results = [{**coco_object(label, box, mask), "score": float(score)} for label, box, mask, score in objects]
    height, width = sample["image"].shape[1:]
    return PictureObjects(index=index, id=sample["id"], size=(height, width), truth=tuple(truth), found=tuple(results))
