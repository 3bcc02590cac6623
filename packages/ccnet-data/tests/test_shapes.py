import math
import pickle

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.shapes import FORMS, LEAST_SEEN, draw_scene, mask_boxes, outline_depth, whole_area
from ccnet_data.testing import check_dataset, check_sample

SIZE = 96


@pytest.fixture(scope="module")
def shapes():
    return load("shapes", split="train", length=60, size=SIZE, seed=0)


def polygon(form, middle, radius, turn):
    """The corners of a shape, by drawing alone: outer ones in turns with those halfway between them."""
    angles = turn + np.arange(2 * form.corners) * math.pi / form.corners
    reach = radius * np.where(np.arange(2 * form.corners) % 2, form.inner, 1)
    return middle + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def holds(corners, x, y):
    """Whether a ray from (x, y) to the right crosses the outline an odd number of times."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


def test_the_dataset_conforms(shapes):
    check_dataset(shapes)
    for sample in shapes:
        check_sample(sample, shapes)
    assert (shapes.task, shapes.classes) == ("instances", ("circle", "square", "triangle", "star"))


def test_the_defaults_are_2000_pictures_of_128_pixels():
    dataset = load("shapes", split="val")
    assert (len(dataset), dataset[0]["image"].shape) == (2000, (3, 128, 128))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_shape_holds_the_pixels_whose_centres_lie_in_its_outline(form):
    middle, radius, turn = np.array([21.3, 17.8]), 15.2, 0.37
    inside = outline_depth(form, 40, middle, radius, turn) > 0
    corners = polygon(form, middle, radius, turn)
    for y, x in np.ndindex(40, 40):
        assert inside[y, x] == holds(corners, x + 0.5, y + 0.5)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_whole_area_is_that_of_the_outline(form):
    x, y = polygon(form, np.zeros(2), 3, 0.2).T
    assert whole_area(form, 3) == pytest.approx(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)


def test_boxes_are_tight_around_masks(shapes):
    for sample in shapes:
        for box, mask in zip(sample["boxes"], sample["masks"], strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_boxes_of_no_masks_are_none():
    assert mask_boxes(np.zeros((0, 5, 6), bool)).shape == (0, 4)


def test_masks_share_no_pixel_though_boxes_overlap(shapes):
    assert all(sample["masks"].sum(0).max() <= 1 for sample in shapes if len(sample["masks"]))
    touching = [np.logical_and(*boxes) for boxes in (_overlaps(sample["boxes"]) for sample in shapes)]
    assert any(overlap.any() for overlap in touching)


def _overlaps(boxes):
    """For each two different boxes, whether they share columns, and whether they share rows."""
    first, second = np.triu_indices(len(boxes), 1)
    return [
        (boxes[first, side] < boxes[second, side + 2]) & (boxes[second, side] < boxes[first, side + 2])
        for side in (0, 1)
    ]


def test_a_shape_in_front_hides_what_lies_behind_but_never_most_of_it():
    hidden = False
    for seed in range(200):
        _, masks, _ = draw_scene(SIZE, 2, np.random.default_rng(seed))
        _, alone, _ = draw_scene(SIZE, 1, np.random.default_rng(seed))
        if len(masks) == 2 and len(alone) == 1 and not np.array_equal(masks[0], alone[0]):
            assert not (masks[0] & ~alone[0]).any()
            assert masks[0].sum() >= LEAST_SEEN * alone[0].sum()
            hidden = True
    assert hidden


def test_a_shape_has_one_colour_whatever_its_class(shapes):
    for sample in shapes:
        for mask in sample["masks"]:
            if mask.sum() > 200:
                hue = sample["image"][:, mask].astype(float)
                assert (hue / hue.sum(0)).std(axis=1).max() < 0.05
    means = {name: [] for name in shapes.classes}
    for sample in shapes:
        for mask, number in zip(sample["masks"], sample["classes"], strict=True):
            means[shapes.classes[number]].append(sample["image"][:, mask].mean(1))
    assert all(np.std(colours, axis=0).min() > 25 for colours in means.values())


def test_each_number_of_objects_up_to_the_most_is_as_frequent():
    counts = np.bincount(
        [len(sample["classes"]) for sample in load("shapes", split="train", length=400, size=48, objects=3)]
    )
    assert len(counts) == 4
    assert counts.min() > 70


def test_pictures_without_objects_can_be_asked_for():
    dataset = load("shapes", split="train", length=3, objects=0)
    check_dataset(dataset)
    assert [sample["masks"].shape for sample in dataset] == [(0, 128, 128)] * 3


def test_classes_are_equally_frequent():
    found = np.concatenate([sample["classes"] for sample in load("shapes", split="train", length=300, size=48)])
    assert np.bincount(found, minlength=4).min() > 0.2 * len(found)


def test_the_same_position_gives_the_same_sample_whatever_was_read_before(shapes):
    expected = shapes[7]
    for other in (load("shapes", split="train", length=8, size=SIZE)[7], pickle.loads(pickle.dumps(shapes))[7 - 60]):
        for key in ("image", "masks", "boxes", "classes"):
            np.testing.assert_array_equal(other[key], expected[key])


def test_no_two_splits_seeds_or_positions_share_a_picture():
    pictures = [
        sample["image"].tobytes()
        for split in ("train", "val")
        for seed in (0, 1)
        for sample in load("shapes", split=split, length=20, size=48, seed=seed)
    ]
    assert len(set(pictures)) == 80


def test_an_unknown_split_names_the_nearest():
    with pytest.raises(DataError, match=r"Dataset 'shapes' has no split 'vall'. Did you mean 'val'\?"):
        load("shapes", split="vall")
