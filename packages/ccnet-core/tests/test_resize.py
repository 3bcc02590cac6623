import pytest
import torch
import torch.nn.functional as F

from ccnet_core import resize
from ccnet_core.resize import resize_bytes


def draw(height, width):
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("size", [(9, 14), (37, 51), (80, 60), (1, 1), (128, 3)])
def test_result_is_within_one_level_of_exact_bilinear(size):
    picture = draw(40, 30)
    exact = F.interpolate(picture.double(), size=size, mode="bilinear")
    assert (resize_bytes(picture, size).double() - exact).abs().max() <= 1


def test_same_size_is_the_same_picture():
    picture = draw(7, 9)
    assert torch.equal(resize_bytes(picture, (7, 9)), picture)


@pytest.mark.parametrize("size", [(9, 14), (80, 60), (1, 1)])
@pytest.mark.parametrize("strip_bytes", [1, 3 * 60 * 4 * 7])
def test_rows_and_strips_are_those_of_the_whole(size, strip_bytes, monkeypatch):
    picture = draw(40, 30)
    whole = resize_bytes(picture, size)
    monkeypatch.setattr(resize, "STRIP_BYTES", strip_bytes)
    assert torch.equal(resize_bytes(picture, size), whole)
    for start in range(size[0]):
        assert torch.equal(resize_bytes(picture, size, start, size[0]), whole[:, :, start:])


@pytest.mark.parametrize(
    ("row_bytes", "expected"),
    [(1, [(3, 10)]), (50, [(3, 5), (5, 7), (7, 9), (9, 10)]), (1000, [(row, row + 1) for row in range(3, 10)])],
)
def test_strips_are_as_high_as_fits_but_never_empty(row_bytes, expected, monkeypatch):
    monkeypatch.setattr(resize, "STRIP_BYTES", 100)
    assert list(resize.strips(3, 10, row_bytes)) == expected


def test_one_colour_stays_that_colour():
    for level in (0, 1, 127, 254, 255):
        picture = torch.full((1, 3, 11, 13), level, dtype=torch.uint8)
        assert (resize_bytes(picture, (29, 5)) == level).all()


def test_result_does_not_antialias():
    picture = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    picture[..., 1::4] = 255
    assert set(resize_bytes(picture, (4, 4)).unique().tolist()) == {128}


def test_values_are_opencvs():
    """Made with cv2.resize of OpenCV 5.0.0."""
    picture = torch.tensor([[10, 200, 30, 90], [250, 0, 60, 120], [7, 77, 177, 255]], dtype=torch.uint8)
    expected = OPENCV
    assert resize_bytes(picture[None, None], (5, 3))[0, 0].tolist() == expected


OPENCV = [[42, 115, 80], [108, 81, 92], [208, 30, 110], [94, 88, 189], [18, 127, 242]]
