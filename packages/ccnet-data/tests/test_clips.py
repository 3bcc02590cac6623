import numpy as np
import pytest

from ccnet_data.clips import Clips, Frame, find_clips, frame_of
from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.testing import check_dataset, check_sample


def frames(sequence, numbers):
    return [f"{sequence}_{number:05d}" for number in numbers]


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("0001TP_006690", Frame("0001TP", 6690)),
        ("0006R0_f00930.png", Frame("0006R0", 930)),
        ("Seq05VD_f00030", Frame("Seq05VD", 30)),
        ("my_own_video_7.jpg", Frame("my_own_video", 7)),
    ],
)
def test_sequence_and_number_are_read_from_the_name(name, frame):
    assert frame_of(name) == frame


@pytest.mark.parametrize("name", ["f00930", "_1", "0016E5_", "0016E5_00390_L.png"])
def test_a_name_without_sequence_or_number_is_refused(name):
    with pytest.raises(DataError, match=f"^{name}: the name of a frame must be SEQUENCE_NUMBER"):
        frame_of(name)


def test_a_clip_ends_at_each_frame_that_has_enough_before_it():
    assert find_clips(frames("a", range(0, 150, 30)), 3).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_frames_follow_by_number_in_whatever_order_they_come():
    assert find_clips(["a_f00004", "a_f00000", "b_00002", "a_f00002"], 3).tolist() == [[1, 3, 0]]


@pytest.mark.parametrize(
    "names",
    [
        frames("a", (0, 30)) + frames("b", (60, 90)),  # another sequence
        frames("a", (0, 30, 90, 120)),  # one missing
        frames("a", (0, 2, 6, 8)),  # one missing at 15 per second
        frames("a", (0, 30, 32, 34 + 30)),  # another rate
        frames("a", (0, 60, 120, 180)),  # too far apart
        frames("a", (0, 30, 30, 60)),  # one number twice
        frames("a", (30, 30, 30)),
    ],
)
def test_no_clip_crosses_a_cut(names):
    assert find_clips(names, 3).shape == (0, 3)


def test_two_rates_of_one_sequence_give_clips_of_each():
    assert find_clips(frames("a", (0, 30, 60, 62, 64)), 3).tolist() == [[0, 1, 2], [2, 3, 4]]


def test_a_frame_labelled_a_moment_late_is_no_cut():
    assert len(find_clips(frames("0016E5", (840, 870, 901, 930, 960)), 5)) == 1


def test_fewer_names_than_frames_give_no_clip():
    assert find_clips(["a_1"], 2).shape == (0, 2)


@pytest.fixture
def clips():
    dataset = load("beacon", split="train", length=4)
    return Clips(dataset=dataset, positions=np.array([[0, 1, 2], [1, 2, 3]]))


def test_a_clip_has_the_pictures_of_its_frames_and_the_label_of_the_last(clips):
    assert (clips.task, len(clips)) == ("video", 2)
    assert (clips.classes, clips.palette) == (clips.dataset.classes, clips.dataset.palette)
    for sample, places in zip(clips, clips.positions, strict=True):
        originals = [clips.dataset[int(place)] for place in places]
        np.testing.assert_array_equal(sample["image"], [original["image"] for original in originals])
        np.testing.assert_array_equal(sample["label"], originals[-1]["label"])
        assert sample["id"] == originals[-1]["id"]


def test_clips_conform(clips):
    check_dataset(clips)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(np.zeros((3, 64, 64), np.uint8), "with 4 axes"), (np.zeros((2, 64, 64, 3), np.uint8), r"not \(T, 3, H, W\)")],
)
def test_a_clip_of_another_shape_does_not_conform(clips, wrong, message):
    with pytest.raises(DataError, match=message):
        check_sample({**clips[0], "image": wrong}, clips)


def test_frames_of_different_size_are_refused():
    samples = [
        {"image": np.zeros((3, 4, width), np.uint8), "label": np.zeros((4, width), np.uint8), "id": f"a_{width}"}
        for width in (6, 5)
    ]
    with pytest.raises(DataError, match="Frames 'a_6' and 'a_5' of one clip have the sizes 6x4 and 5x4"):
        Clips(dataset=samples, positions=np.array([[0, 1]]))[0]
