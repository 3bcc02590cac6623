import numpy as np
import pytest

from ccnet_train.detection import Detections
from ccnet_train.detection.coco_records import picture_objects
from ccnet_train.detection.evaluation import InstanceEvaluation

pytestmark = pytest.mark.detection

BOX = np.array([[4, 4, 20, 24]], np.float32)


def evaluation(*, objects=1, found=1, crowd=False):
    masks = np.zeros((1, 32, 48), bool)
    masks[0, 4:24, 4:20] = True
    sample = {"image": np.zeros((3, 32, 48), np.uint8), "id": "a", "crowd": np.full(objects, crowd)}
    sample |= {"boxes": BOX[:objects], "masks": masks[:objects], "classes": np.zeros(objects, np.int64)}
    detections = Detections(
        boxes=BOX[:found], masks=masks[:found], classes=np.zeros(found, np.int64), scores=np.ones(found, np.float32)
    )
    picture = picture_objects(0, sample, detections)
    return InstanceEvaluation(classes=("cat", "racing car"), pictures=(picture,))


def test_the_metrics_are_those_that_are_defined():
    values = {"ap": 1, "ap50": 1, "ap75": 1, "ap_small": 1}
    expected = {f"{kind}_{name}": value for kind in ("box", "mask") for name, value in values.items()}
    assert evaluation().metrics == pytest.approx(expected)


def test_the_line_names_masks_and_boxes():
    assert evaluation(found=0).line() == "mask AP 0.0000  AP50 0.0000  box AP 0.0000  AP50 0.0000"


def test_the_table_has_totals_and_a_row_for_each_class():
    assert evaluation().table().splitlines() == [
        "               AP   AP50   AP75    APs    APm    APl",
        "boxes      100.00 100.00 100.00 100.00      -      -",
        "masks      100.00 100.00 100.00 100.00      -      -",
        "",
        "class       boxes  masks",
        "cat        100.00 100.00",
        "racing car      -      -",
    ]


def test_crowds_alone_are_nothing_to_measure():
    assert evaluation().has_truth
    assert not evaluation(crowd=True).has_truth
    assert not evaluation(objects=0).has_truth
