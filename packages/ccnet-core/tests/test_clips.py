import numpy as np
import pytest
import torch

from ccnet_core.clips import last_frame, recent, require_clips, to_frames
from ccnet_core.errors import PictureError


def clip(frames, batch=()):
    return torch.arange(frames, dtype=torch.uint8).view(frames, 1, 1, 1).expand(*batch, frames, 3, 4, 5)


def test_a_clip_is_taken_as_it_is_and_a_picture_as_a_picture():
    frames = clip(3)
    assert to_frames(frames) is frames
    assert to_frames(np.zeros((4, 5, 3), np.uint8)).shape == (3, 4, 5)


@pytest.mark.parametrize(
    "wrong", [clip(3).float(), clip(3)[:, :2], clip(3)[:0], clip(3)[..., :0]], ids=["float", "channels", "T=0", "W=0"]
)
def test_what_is_no_clip_is_refused(wrong):
    with pytest.raises(PictureError, match=r"A clip must be uint8 \(T, 3, H, W\) RGB, got "):
        to_frames(wrong)


def test_the_last_frame_is_the_one_that_is_labelled():
    assert (last_frame(clip(3)) == 2).all()
    assert last_frame(clip(3)[0]).shape == (3, 4, 5)


@pytest.mark.parametrize(("frames", "kept"), [(1, 2), (2, [1, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_a_model_takes_the_last_frames_of_a_clip_and_one_of_pictures_the_last(frames, kept):
    assert recent(clip(3, batch=(2,)), frames)[1, ..., 0, 0, 0].tolist() == kept


def test_pictures_stay_as_they_are():
    pictures = torch.zeros(2, 3, 4, 5)
    assert recent(pictures, 1) is recent(pictures, 5) is pictures


def test_pictures_are_clips_of_one_frame():
    assert require_clips(torch.zeros(2, 3, 4, 5), longest=5, frame=-1).shape == (2, 1, 3, 4, 5)


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (2, 6, 3, 4, 5), (2, 0, 3, 4, 5), (2, 5, 4, 4, 5), (2, 5, 3, 0, 5)], ids=str
)
def test_another_shape_is_refused(shape):
    with pytest.raises(PictureError, match=r"Expected (pictures|clips \(B, T, 3, H, W\) of 1 to 5 frames)"):
        require_clips(torch.zeros(shape), longest=5, frame=-1)


@pytest.mark.parametrize("frame", [3, -4])
def test_a_frame_that_is_not_there_is_refused(frame):
    with pytest.raises(PictureError, match=f"A clip of 3 frames has no frame {frame}"):
        require_clips(torch.zeros(1, 3, 3, 4, 5), longest=5, frame=frame)
