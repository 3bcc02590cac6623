import pickle

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.synthetic import BEACON_COLOURS, GAP, SMALLEST, place
from ccnet_data.testing import check_dataset, check_sample


def beacon_mask(sample):
    """The pixels of exactly a beacon's colour that form the beacon, found without the generator's own code."""
    image = sample["image"].astype(int)
    masks = [(image == np.array(colour)[:, None, None]).all(axis=0) for colour in BEACON_COLOURS]
    return max(masks, key=np.count_nonzero)


@pytest.fixture
def beacon():
    return load("beacon", split="train", length=30, size=64, seed=0)


def test_the_dataset_conforms(beacon):
    check_dataset(beacon)
    for sample in beacon:
        check_sample(sample, beacon)


def test_length_size_and_ids_are_as_asked():
    dataset = load("beacon", split="val", length=3, size=80)
    assert len(dataset) == 3
    assert [sample["image"].shape for sample in dataset] == [(3, 80, 80)] * 3
    assert len({sample["id"] for sample in dataset}) == 3


def test_the_defaults_are_2000_samples_of_64_pixels():
    dataset = load("beacon", split="train")
    assert (len(dataset), dataset[0]["label"].shape) == (2000, (64, 64))


def test_five_squares_have_the_class_of_the_beacon_colour(beacon):
    for sample in beacon:
        values, counts = np.unique(sample["label"], return_counts=True)
        colour = sample["image"][:, beacon_mask(sample)][:, 0]
        assert values.tolist() == [0, 1 + BEACON_COLOURS.index(tuple(int(channel) for channel in colour))]
        assert counts[1] == 5 * 8 * 8


def test_the_beacon_is_14_pixels_plain_and_background(beacon):
    for sample in beacon:
        rows, columns = np.nonzero(beacon_mask(sample))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1, len(rows)) == (14, 14, 196)
        assert not sample["label"][beacon_mask(sample)].any()


def test_squares_are_dark_and_tell_nothing_of_their_class(beacon):
    means = {1: [], 2: [], 3: []}
    for sample in beacon:
        square = sample["label"] > 0
        means[int(sample["label"].max())].append(sample["image"][:, square].mean(axis=1))
    for of_class in means.values():
        np.testing.assert_allclose(np.mean(of_class, axis=0), 30, atol=2)


def test_background_is_grey_noise(beacon):
    sample = beacon[0]
    background = sample["image"][:, (sample["label"] == 0) & ~beacon_mask(sample)]
    assert background.mean() == pytest.approx(109.5, abs=1)
    assert background.std() == pytest.approx(12, abs=1)


@pytest.mark.parametrize("strip", [False, True])
def test_boxes_keep_their_distance_and_stay_inside(strip):
    rng = np.random.default_rng(0)
    reached = set()
    for _ in range(50):
        beacon, squares = place(64, rng, strip=strip)
        assert beacon[2:] == ((64, 8) if strip else (14, 14))
        reached |= {start for square in squares for start in square[:2]}
        boxes = [beacon, *squares]
        for number, (y, x, height, width) in enumerate(boxes):
            assert min(y, x) >= 0
            assert max(y + height, x + width) <= 64
            for y2, x2, height2, width2 in boxes[:number]:
                assert max(y - (y2 + height2), y2 - (y + height), x - (x2 + width2), x2 - (x + width)) >= GAP
    assert (min(reached), max(reached)) == (0, 64 - 8)


def test_beacons_lie_everywhere_and_in_every_colour():
    corners, classes = [], []
    for sample in load("beacon", split="train", length=300):
        rows, columns = np.nonzero(beacon_mask(sample))
        corners.append((rows[0], columns[0]))
        classes.append(int(sample["label"].max()))
    np.testing.assert_allclose(np.mean(corners, axis=0), 25, atol=3)
    assert (np.min(corners), np.max(corners)) == (0, 50)
    assert min(np.bincount(classes, minlength=4)[1:]) > 70


def test_the_same_position_gives_the_same_sample_whatever_was_read_before(beacon):
    expected = beacon[7]
    again = load("beacon", split="train", length=30, size=64, seed=0)
    np.testing.assert_array_equal(again[-23]["image"], expected["image"])
    np.testing.assert_array_equal(again[7]["label"], expected["label"])


def test_length_does_not_change_the_samples(beacon):
    longer = load("beacon", split="train", length=31)
    np.testing.assert_array_equal(longer[29]["image"], beacon[29]["image"])


def test_no_two_splits_seeds_or_positions_share_a_picture():
    pictures = [
        sample["image"].tobytes()
        for split in ("train", "val")
        for seed in (0, 1, 2**32 - 1)
        for sample in load("beacon", split=split, length=40, seed=seed)
    ]
    assert len(set(pictures)) == 240


def test_the_dataset_travels_to_other_processes(beacon):
    copy = pickle.loads(pickle.dumps(beacon))
    np.testing.assert_array_equal(copy[3]["image"], beacon[3]["image"])


def test_one_past_the_end_is_an_index_error(beacon):
    with pytest.raises(IndexError):
        beacon[30]


def test_an_unknown_split_names_the_nearest():
    with pytest.raises(DataError, match=r"Dataset 'beacon' has no split 'vall'. Did you mean 'val'\?"):
        load("beacon", split="vall")


def test_a_size_too_small_for_the_squares_is_refused_as_an_option():
    with pytest.raises(DataError, match="size must be a whole number from 48 to 4096, got 47"):
        load("beacon", split="train", size=47)


@pytest.mark.parametrize("size", [1, 10, 14, 30])
def test_placing_in_too_small_a_picture_ends_with_an_error(size):
    with pytest.raises(DataError, match=f"size {size} leaves no room .* size=48 or more"):
        place(size, np.random.default_rng(0))


def test_the_smallest_size_finds_room_every_time():
    for seed in range(200):
        place(SMALLEST, np.random.default_rng(seed))
        place(SMALLEST, np.random.default_rng(seed), strip=True)


@pytest.fixture
def clips():
    return load("beacon", split="train", length=40, size=48, frames=4)


def lit(sample):
    """The frames that show a beacon, found by its colour alone."""
    frames = [{**sample, "image": frame} for frame in sample["image"]]
    return [place for place, frame in enumerate(frames) if np.count_nonzero(beacon_mask(frame)) == 48 * 8]


def test_clips_conform(clips):
    check_dataset(clips)
    assert clips.task == "video"
    assert clips.classes == ("background", "square of red", "square of green")
    for sample in clips:
        check_sample(sample, clips)
        assert sample["image"].shape == (4, 3, 48, 48)


def test_the_strip_of_a_clip_goes_from_edge_to_edge(clips):
    for sample in clips:
        rows, columns = np.nonzero(beacon_mask({**sample, "image": sample["image"][0]}))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (48, 8)


def test_the_beacon_of_a_clip_goes_out_before_the_last_frame(clips):
    frames = [lit(sample) for sample in clips]
    assert {tuple(places) for places in frames} == {(0,), (0, 1), (0, 1, 2)}


def test_the_colour_that_was_lit_is_the_class_of_the_squares_in_the_last_frame(clips):
    for sample in clips:
        frame = {**sample, "image": sample["image"][lit(sample)[0]]}
        colour = frame["image"][:, beacon_mask(frame)][:, 0]
        square = sample["label"] > 0
        assert set(sample["label"][square]) == {1 + BEACON_COLOURS.index(tuple(map(int, colour)))}
        assert np.count_nonzero(square) == 5 * 8 * 8
        assert sample["image"][:, :, square].max() < 30 + 60  # dark, and in the same place in every frame


def test_the_last_frame_tells_nothing_of_the_class(clips):
    means = {1: [], 2: []}
    for sample in load("beacon", split="train", length=200, size=48, frames=2):
        means[int(sample["label"].max())].append(sample["image"][-1].mean(axis=(1, 2)))
    for of_class in means.values():
        np.testing.assert_allclose(np.mean(of_class, axis=0), 99, atol=1)


def test_each_frame_of_a_clip_has_noise_of_its_own(clips):
    image = clips[0]["image"].astype(int)
    assert all(np.abs(image[t] - image[t + 1]).mean() > 5 for t in range(3))


def test_the_fewest_frames_of_a_clip_are_two(clips):
    assert lit(load("beacon", split="val", length=1, size=48, frames=2)[0]) == [0]
    with pytest.raises(DataError, match="frames must be a whole number from 1 to 100, got 0"):
        load("beacon", split="train", frames=0)
