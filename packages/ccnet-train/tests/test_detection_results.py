import json
import sys

import numpy as np
import pytest

from ccnet_core import CCNetError
from ccnet_train.detection import Detections
from ccnet_train.detection.results import coco_results, encode_mask


def detections(mask):
    return Detections(
        boxes=np.array([[1, 2, 5, 8]], np.float32),
        classes=np.array([1]),
        scores=np.array([0.75], np.float32),
        masks=mask[None],
    )


@pytest.mark.detection
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_detections_take_cocos_form():
    mask = np.zeros((6, 9), bool)
    mask[1:4, 2:7] = True
    [found] = json.loads(json.dumps(coco_results(detections(mask), ("ant", "bee"), image="sub/photo")))
    counts = found["segmentation"].pop("counts")
    assert found == {
        "image_id": "sub/photo",
        "category_id": 1,
        "category": "bee",
        "bbox": [1, 2, 4, 6],
        "score": 0.75,
        "segmentation": {"size": [6, 9]},
    }
    from pycocotools import mask as runs

    assert np.array_equal(runs.decode({"size": [6, 9], "counts": counts}), mask)


def test_without_pycocotools_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(CCNetError, match=r'python -m pip install "ccnet-train\[detection\]"'):
        encode_mask(np.zeros((2, 2), bool))
