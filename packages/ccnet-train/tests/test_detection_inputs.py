import pytest
import torch

from ccnet_core import PictureError
from ccnet_train import TrainError
from ccnet_train.detection.inputs import require_images, require_targets

IMAGE = torch.zeros(3, 8, 9, dtype=torch.uint8)


def target(**changes):
    masks = torch.zeros(1, 8, 9, dtype=torch.bool)
    return {"boxes": torch.tensor([[1.0, 2, 5, 6]]), "classes": torch.tensor([1]), "masks": masks, **changes}


def test_pictures_of_bytes_and_of_floats_pass():
    require_images([IMAGE, torch.rand(3, 4, 5)])


WRONG_IMAGES = {
    "Expected at least one picture": [],
    r"Picture 1: expected a tensor \(3, H, W\), got \(1, 8, 9\)": [IMAGE, IMAGE[:1]],
    r"Picture 0: expected a tensor \(3, H, W\), got \(3, 0, 9\)": [IMAGE[:, :0]],
    r"Picture 0: expected a tensor \(3, H, W\), got list": [[1, 2]],
    "Picture 0: expected uint8 or floating numbers, got torch.int64": [IMAGE.long()],
}


@pytest.mark.parametrize("message", WRONG_IMAGES)
def test_what_is_no_picture_is_refused(message):
    with pytest.raises(PictureError, match=message):
        require_images(WRONG_IMAGES[message])


def test_a_picture_may_have_no_objects():
    none = target(boxes=torch.zeros(0, 4), classes=torch.zeros(0, dtype=torch.int64), masks=torch.zeros(0, 8, 9) > 0)
    require_targets([target(), none], [IMAGE, IMAGE], 2)


WRONG_TARGETS = {
    r"boxes must be float32 \(N, 4\), got torch.int64 \(1, 4\)": {"boxes": torch.tensor([[1, 2, 5, 6]])},
    r"boxes must be float32 \(N, 4\), got torch.float32 \(1, 5\)": {"boxes": torch.zeros(1, 5)},
    r"classes must be int64 \(1,\), got torch.int64 \(2,\)": {"classes": torch.tensor([0, 1])},
    r"masks must be bool \(1, 8, 9\), got torch.uint8": {"masks": torch.zeros(1, 8, 9, dtype=torch.uint8)},
    r"masks must be bool \(1, 8, 9\), got torch.bool \(1, 9, 8\)": {"masks": torch.zeros(1, 9, 8) > 0},
    r"classes must be from 0 to 1, got \[2\]": {"classes": torch.tensor([2])},
    "boxes must be left, top, right, bottom, with a width and a height": {"boxes": torch.tensor([[5.0, 2, 5, 6]])},
    "boxes must be .*nan": {"boxes": torch.tensor([[float("nan"), 2, 5, 6]])},
}


@pytest.mark.parametrize("message", WRONG_TARGETS)
def test_a_target_that_does_not_fit_its_picture_is_refused(message):
    with pytest.raises(TrainError, match=f"The target of picture 1: {message}"):
        require_targets([target(), target(**WRONG_TARGETS[message])], [IMAGE, IMAGE], 2)


@pytest.mark.parametrize(("targets", "count"), [(None, "none"), ([target()], "1")])
def test_every_picture_needs_a_target(targets, count):
    with pytest.raises(TrainError, match=f"Training needs a target for each of 2 pictures, got {count}"):
        require_targets(targets, [IMAGE, IMAGE], 2)
