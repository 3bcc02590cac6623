import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccnet_data.errors import DataError
from ccnet_data.instances import InstanceAugment, mirrored_boxes, scaled_boxes
from ccnet_data.registry import load
from ccnet_data.testing import check_sample

HEIGHT, WIDTH = 30, 40
UNCHANGED = {"flip": 0.0}


class Coin:
    """A generator that draws the same number always: 0 takes every chance, 0.999 none."""

    def __init__(self, drawn):
        self.drawn = drawn

    def random(self):
        return self.drawn

    def uniform(self, low, high):
        return low + self.drawn * (high - low)

    def integers(self, low, high=None):
        low, high = (0, low) if high is None else (low, high)
        return low + int(self.drawn * (high - low))


def rectangles(boxes, size=(HEIGHT, WIDTH), crowd=()):
    """A sample of rectangles on black, each of its own grey, with masks painted pixel by pixel."""
    canvas = np.zeros((3, *size), np.uint8)
    masks = np.zeros((len(boxes), *size), bool)
    for number, (left, top, right, bottom) in enumerate(boxes):
        for y, x in np.ndindex(size):
            masks[number, y, x] = left <= x + 0.5 < right and top <= y + 0.5 < bottom
        canvas[:, masks[number]] = 50 * (number + 1)
    return {
        "image": canvas,
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "masks": masks,
        "classes": np.arange(len(boxes)),
        "crowd": np.isin(np.arange(len(boxes)), crowd),
        "id": "a",
    }


def augmented(sample, drawn=0.999, **options):
    return InstanceAugment(**options)(sample, Coin(drawn))


def test_enlarged_objects_are_those_drawn_large():
    boxes = [[3, 4, 12, 20], [20, 5, 37, 28], [0, 0, 5, 3]]
    result = augmented(rectangles(boxes), short_edge=90)
    expected = rectangles((3 * np.array(boxes)).tolist(), (90, 120))
    for key in ("boxes", "masks", "classes", "crowd"):
        np.testing.assert_array_equal(result[key], expected[key])
    # Away from edges, where four pixels are mixed, the picture is the one drawn large, too.
    np.testing.assert_array_equal(result["image"][:, 1::3, 1::3], expected["image"][:, 1::3, 1::3])


def test_objects_made_smaller_are_those_drawn_small():
    boxes = [[4, 4, 12, 20], [20, 6, 36, 28]]
    result = augmented(rectangles(boxes), short_edge=15)
    expected = rectangles((np.array(boxes) / 2).tolist(), (15, 20))
    for key in ("image", "boxes", "masks"):
        np.testing.assert_array_equal(result[key], expected[key])


def test_a_mirror_image_shows_the_objects_on_the_other_side():
    boxes = [[3, 4, 12, 20], [20, 5, 37, 28]]
    result = augmented(rectangles(boxes, crowd=[1]), drawn=0)
    expected = rectangles([[28, 4, 37, 20], [3, 5, 20, 28]], crowd=[1])
    for key in ("image", "boxes", "masks", "classes", "crowd"):
        np.testing.assert_array_equal(result[key], expected[key])


def test_scaled_and_mirrored_objects_are_those_drawn_so():
    result = augmented(rectangles([[3, 4, 12, 20]]), drawn=0, short_edge=60)
    expected = rectangles([[56, 8, 74, 40]], (60, 80))
    np.testing.assert_array_equal(result["boxes"], expected["boxes"])
    np.testing.assert_array_equal(result["masks"], expected["masks"])


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (30, 40)),
        ({"short_edge": 45}, (45, 60)),
        ({"short_edge": [15, 60]}, (60, 80)),
        ({"short_edge": 45, "longest_edge": 50}, (38, 50)),
        ({"longest_edge": 20}, (15, 20)),
        ({"longest_edge": 400}, (30, 40)),
        ({"ratio": (2, 2)}, (60, 80)),
        ({"ratio": (2, 2), "short_edge": 15}, (30, 40)),
        ({"ratio": (0.01, 0.01)}, (1, 1)),
    ],
)
def test_the_size_follows_from_the_edges_and_the_ratio(options, size):
    assert augmented(rectangles([]), **options)["image"].shape == (3, *size)


def test_a_tall_picture_is_measured_by_its_width():
    sample = rectangles([], (40, 30))
    assert augmented(sample, short_edge=45, longest_edge=50)["image"].shape == (3, 50, 38)


def test_every_short_edge_and_factor_is_drawn():
    augment = InstanceAugment(short_edge=(15, 30, 45), flip=0)
    heights = [augment(rectangles([]), np.random.default_rng(seed))["image"].shape[1] for seed in range(90)]
    assert sorted(set(heights)) == [15, 30, 45]
    assert min(heights.count(edge) for edge in set(heights)) > 18
    jitter = InstanceAugment(ratio=(0.5, 2), flip=0)
    heights = [jitter(rectangles([]), np.random.default_rng(seed))["image"].shape[1] for seed in range(90)]
    assert (min(heights) < 18, max(heights) > 57) == (True, True)


def test_half_of_the_pictures_are_mirrored():
    sample = rectangles([[0, 0, 4, 4]])
    lefts = [InstanceAugment()(sample, np.random.default_rng(seed))["boxes"][0, 0] for seed in range(100)]
    assert set(lefts) == {0, 36}
    assert 35 < lefts.count(0) < 65


def test_objects_that_vanish_are_left_out_and_crowds_stay():
    sample = rectangles([[3, 4, 12, 20], [20, 10, 21, 11], [24, 4, 36, 16]], crowd=[2])
    result = augmented(sample, short_edge=3)
    assert (result["classes"].tolist(), result["crowd"].tolist()) == ([0, 2], [False, True])
    assert (len(result["boxes"]), len(result["masks"])) == (2, 2)


def test_areas_grow_with_the_picture_and_vanish_with_their_objects():
    sample = {**rectangles([[3, 4, 12, 20], [20, 10, 21, 11]]), "areas": np.array([144.5, 1])}
    assert augmented(sample, short_edge=60)["areas"].tolist() == [578, 4]
    assert augmented(sample, short_edge=3)["areas"].tolist() == [1.445]


@pytest.mark.parametrize("box", [[7, 5, 7, 9], [7, 5, 9, 5], [7, 5, 7.000001, 9]])
def test_objects_whose_box_is_flat_are_left_out(box):
    sample = rectangles([[3, 4, 12, 20], [20, 5, 37, 28]])
    sample["boxes"][0] = box
    assert augmented(sample)["classes"].tolist() == [1]


@pytest.mark.parametrize("options", [{"short_edge": 7}, {"photometric": True}, {"ratio": (0.5, 2)}])
def test_a_picture_without_objects_stays_one(options):
    dataset = load("shapes", split="train", objects=0)
    for seed in range(4):
        result = InstanceAugment(**options)(dataset[0], np.random.default_rng(seed))
        check_sample(result, dataset)
        assert result["masks"].shape == (0, *result["image"].shape[1:])


@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 50))
def test_any_result_conforms_and_the_given_sample_stays(seed, index):
    dataset = load("shapes", split="train", size=48)
    sample, before = dataset[index], dataset[index]
    augment = InstanceAugment(short_edge=(9, 47, 60), longest_edge=80, ratio=(0.5, 2), photometric=True)
    result = augment(sample, np.random.default_rng(seed))
    check_sample(result, dataset)
    for key in ("image", "boxes", "masks", "classes", "crowd"):
        np.testing.assert_array_equal(sample[key], before[key])
        np.testing.assert_array_equal(augment(sample, np.random.default_rng(seed))[key], result[key])


def test_boxes_stay_within_the_picture_when_rounding_would_lead_out():
    for width in range(1, 400):
        box = np.array([[0, 0, width, 7]], np.float32)
        for wanted in (width * 2 // 3 + 1, width * 7 // 3):
            assert scaled_boxes(box, (7, width), (5, wanted)).tolist() == [[0, 0, wanted, 5]]


def test_boxes_mirrored_twice_are_the_same():
    boxes = np.array([[1.5, 2, 7.25, 9], [0, 0, 40, 30]], np.float32)
    np.testing.assert_array_equal(mirrored_boxes(mirrored_boxes(boxes, WIDTH), WIDTH), boxes)


def test_colours_change_and_objects_do_not():
    sample = load("shapes", split="train")[2]
    result = augmented(sample, drawn=0.4, photometric=True, **UNCHANGED)
    assert not np.array_equal(result["image"], sample["image"])
    np.testing.assert_array_equal(result["masks"], sample["masks"])


def test_a_sample_of_label_maps_is_refused():
    with pytest.raises(DataError, match="Sample 'train-0-000000' has no masks; kind: instances is for datasets of obj"):
        augmented(load("beacon", split="train")[0])


def test_all_wrong_arguments_are_named_at_once():
    with pytest.raises(DataError, match=r"short_edge must .* longest_edge must .* ratio must be \[least, largest"):
        InstanceAugment(short_edge=(0,), longest_edge=1.5, ratio=(2, 1))
