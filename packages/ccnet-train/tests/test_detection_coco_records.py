import numpy as np
import pytest

from ccnet_train.detection import Detections
from ccnet_train.detection.coco_records import PictureObjects, picture_objects

pytestmark = [
    pytest.mark.detection,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools and NumPy 2
]


def masks_of(boxes, size=(20, 30)):
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def objects(true=((2, 3, 10, 9),), found=((1, 3, 9, 9),), **more):
    sample = {
        "image": np.zeros((3, 20, 30), np.uint8),
        "boxes": np.array(true, np.float32).reshape(-1, 4),
        "masks": masks_of(true),
        "classes": np.arange(len(true)),
        "crowd": np.zeros(len(true), bool),
        "id": "street/a.png",
        **more,
    }
    scores = np.linspace(0.9, 0.1, len(found), dtype=np.float32)
    boxes = np.array(found, np.float32).reshape(-1, 4)
    labels = np.arange(len(found))
    return picture_objects(4, sample, Detections(boxes=boxes, classes=labels, scores=scores, masks=masks_of(found)))


def test_objects_are_written_as_coco_writes_them():
    from pycocotools import mask

    picture = objects()
    (true,), (found,) = picture.truth, picture.found
    assert (picture.index, picture.id, picture.size) == (4, "street/a.png", (20, 30))
    assert (true["bbox"], true["category_id"], true["area"], true["iscrowd"]) == ([2, 3, 8, 6], 0, 48, 0)
    assert found["score"] == float(np.float32(0.9))
    np.testing.assert_array_equal(mask.decode(found["segmentation"]), masks_of([(1, 3, 9, 9)])[0])


def test_areas_that_the_data_give_count_instead_of_those_of_the_masks():
    assert objects(areas=np.array([40.5])).truth[0]["area"] == 40.5


def test_a_line_brings_everything_back_exactly():
    picture = objects(found=((1, 3, 9, 9), (0, 0, 7, 2)))
    assert PictureObjects.from_line(picture.to_line()) == picture
    nothing = objects(true=(), found=())
    assert PictureObjects.from_line(nothing.to_line()) == nothing


@pytest.mark.parametrize("line", ["3", '{"index": 1}', '{"index": 1, "id": "a", "size": 3}'])
def test_other_lines_are_refused(line):
    with pytest.raises(ValueError, match="not the objects of a picture"):
        PictureObjects.from_line(line)
