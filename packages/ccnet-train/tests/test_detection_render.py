import numpy as np
import pytest

from ccnet_train.detection import Detections, draw_detections
from ccnet_train.detection.render import enlarge_detections

CLASSES, PALETTE = ("ant", "bee"), ((250, 0, 0), (0, 0, 250))


def detections(boxes, classes, scores, size):
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.array(classes, np.int64),
        scores=np.array(scores, np.float32),
        masks=masks,
    )


def drawn(boxes, classes, scores, size=(200, 300), grey=100, **options):
    picture = np.full((*size, 3), grey, np.uint8)
    return draw_detections(picture, detections(boxes, classes, scores, size), CLASSES, PALETTE, **options)


BOX = (60, 60, 200, 160)


def test_a_mask_has_the_colour_of_its_class_as_strong_as_the_opacity():
    assert drawn([BOX], [0], [0.9], opacity=0.5)[110, 130].tolist() == [175, 50, 50]
    assert drawn([BOX], [1], [0.9], opacity=1.0)[110, 130].tolist() == [0, 0, 250]
    assert drawn([BOX], [0], [0.9], opacity=0.0)[110, 130].tolist() == [100, 100, 100]


@pytest.mark.parametrize("grey", [0, 255])
def test_a_rim_is_seen_on_black_and_on_white(grey):
    picture = drawn([BOX], [0], [0.9], grey=grey, opacity=0.0)
    column = picture[60:64, 180].tolist()
    assert [0, 0, 0] in column
    assert [255, 255, 255] in column


def test_what_scores_below_the_threshold_is_not_drawn():
    blank = drawn([], [], [])
    assert (blank == 100).all()
    assert np.array_equal(drawn([BOX], [0], [0.4]), blank)
    assert not np.array_equal(drawn([BOX], [0], [0.4], threshold=0.3), blank)


def test_the_best_is_on_top():
    both = drawn([BOX, BOX], [0, 1], [0.9, 0.6], opacity=1.0)
    assert both[110, 130].tolist() == [250, 0, 0]


def test_the_picture_itself_stays_as_it_is():
    picture = np.zeros((200, 300, 3), np.uint8)
    draw_detections(picture, detections([BOX], [0], [0.9], (200, 300)), CLASSES, PALETTE)
    assert not picture.any()


def test_names_stand_in_the_picture_and_not_on_each_other():
    boxes = [(0, 0, 390, 290), (0, 0, 300, 280), (0, 0, 200, 200)]
    picture = drawn(boxes, [0, 0, 0], [0.9, 0.8, 0.7], (300, 400), opacity=0.0)
    # A row above the letters and below the frames: there is only what lies under the names, in the class's colour.
    plates = "".join("x" if (pixel == PALETTE[0]).all() else " " for pixel in picture[3])
    assert len([plate for plate in plates.split() if len(plate) > 30]) == 3


def test_small_pictures_are_enlarged_with_their_detections():
    found = detections([(1, 2, 5, 6)], [0], [0.9], (10, 20))
    picture, enlarged = enlarge_detections(np.zeros((10, 20, 3), np.uint8), found)
    assert picture.shape == (320, 640, 3)
    assert enlarged.boxes.tolist() == [[32, 64, 160, 192]]
    assert enlarged.masks.shape == (1, 320, 640)
    assert enlarged.masks[0, 64:192, 32:160].all()
    assert enlarged.masks.sum() == 128 * 128
    large = np.zeros((700, 20, 3), np.uint8)
    assert enlarge_detections(large, detections([], [], [], (700, 20)))[0].shape == large.shape


def test_a_mask_of_a_pixel_and_one_of_none_are_drawn():
    drawn([(10, 10, 11, 11), (20, 20, 20, 20)], [0, 1], [0.9, 0.8])
