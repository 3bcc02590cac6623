import tracemalloc

import numpy as np
import pytest

from ccnet_train.detection import Detections
from ccnet_train.detection.packed import PackedDetections, PackedMask, PackedMasks
from ccnet_train.detection.render import draw_detections

SIZE = (37, 53)


def random_masks():
    """Return masks that touch every edge, that lie inside, of one pixel, and of none."""
    generator = np.random.default_rng(0)
    masks = np.zeros((4, *SIZE), bool)
    masks[0] = generator.random(SIZE) < 0.5
    masks[1, 5:20, 11:30] = generator.random((15, 19)) < 0.5
    masks[2, 36, 52] = True
    return masks


def packed(masks):
    numbers = np.arange(len(masks))
    return PackedDetections(
        boxes=np.tile(numbers[:, None], 4).astype(np.float32),
        classes=numbers,
        scores=(0.9 - 0.2 * numbers).astype(np.float32),
        masks=PackedMasks([PackedMask.pack(mask) for mask in masks], masks.shape[1:]),
    )


def test_masks_come_out_as_they_went_in():
    masks = random_masks()
    found = packed(masks)
    for one, mask in zip(found.masks, masks, strict=True):
        assert one.dtype == np.bool_
        assert np.array_equal(one, mask)
    assert np.array_equal(found.masks[1], masks[1])
    whole = found.unpack()
    assert isinstance(whole, Detections)
    assert whole.masks.dtype == np.bool_
    assert np.array_equal(whole.masks, masks)
    assert np.array_equal(whole.boxes, found.boxes)


def test_no_masks_have_the_size_of_the_picture():
    assert packed(np.zeros((0, *SIZE), bool)).unpack().masks.shape == (0, *SIZE)


@pytest.mark.parametrize(("threshold", "left"), [(0.0, 4), (0.6, 2), (0.95, 0)])
def test_those_above_a_threshold_are_those_of_detections(threshold, left):
    found = packed(random_masks())
    few, expected = found.above(threshold), found.unpack().above(threshold)
    assert len(few) == len(expected) == left
    for name in ("boxes", "classes", "scores"):
        assert np.array_equal(getattr(few, name), getattr(expected, name))
    assert np.array_equal(few.unpack().masks, expected.masks)


def test_the_largest_masks_take_an_eighth_and_small_ones_less():
    tracemalloc.start()
    try:
        full = PackedMask.pack(np.ones((800, 800), bool))
        assert 80_000 <= tracemalloc.get_traced_memory()[0] < 82_000
        del full
        small = np.zeros((800, 800), bool)
        small[100:180, 300:380] = True
        before = tracemalloc.get_traced_memory()[0]
        kept = PackedMask.pack(small)
        assert tracemalloc.get_traced_memory()[0] - before < 3_000
        assert kept.unpack().sum() == 80 * 80
    finally:
        tracemalloc.stop()


def test_they_are_drawn_as_detections_are():
    found = packed(random_masks())
    picture, palette = np.full((*SIZE, 3), 90, np.uint8), [(250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9)]
    one, other = (
        draw_detections(picture, objects, "abcd", palette, threshold=0) for objects in (found, found.unpack())
    )
    assert np.array_equal(one, other)
    assert not np.array_equal(one, picture)
