import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ccnet_core import resize
from ccnet_core.resize import fit_bytes, resize_bytes


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


def fitted_exactly(picture, crop):
    """The affine map of CE2P in float64: `grid_sample` on a plane that is black outside of the picture."""
    height, width, rows, columns = *picture.shape[2:], *crop
    factor = (columns - 1) / max(width - 1, (height - 1) * columns / rows, 1)
    y, x = (
        (extent - 1) / 2 + (torch.arange(target).double() - (target - 1) / 2) / factor
        for extent, target in ((height, rows), (width, columns))
    )
    # In grid_sample -1 and 1 are the first and the last pixel; of a single one every number is, so it gets a black row.
    padded = F.pad(picture.double(), (1, 1, 1, 1))
    grid = torch.stack(
        torch.broadcast_tensors((x[None] + 1) * 2 / (width + 1) - 1, (y[:, None] + 1) * 2 / (height + 1) - 1), -1
    )
    return F.grid_sample(padded, grid[None].expand(len(picture), -1, -1, -1), align_corners=True, padding_mode="zeros")


CROPS = st.tuples(st.integers(2, 50), st.integers(2, 50))
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60)) | st.sampled_from([(1, 500), (500, 1), (1, 1)])


@settings(deadline=None, max_examples=100)
@given(SIZES, CROPS)
def test_fit_is_within_one_level_of_the_exact_affine_map_on_black(size, crop):
    picture = draw(*size)
    fitted = fit_bytes(picture, crop)
    assert fitted.shape == (1, 3, *crop)
    assert (fitted.double() - fitted_exactly(picture, crop)).abs().max() <= 1


@settings(deadline=None, max_examples=60)
@given(SIZES, CROPS)
def test_fit_of_a_mirror_image_is_the_mirror_image_of_the_fit(size, crop):
    picture = draw(*size)
    assert torch.equal(fit_bytes(picture.flip(3), crop), fit_bytes(picture, crop).flip(3))


@pytest.mark.parametrize("crop", [(9, 14), (80, 60), (2, 2)])
@pytest.mark.parametrize("strip_bytes", [1, 3 * 60 * 4 * 7])
def test_rows_and_strips_of_a_fit_are_those_of_the_whole(crop, strip_bytes, monkeypatch):
    picture = draw(40, 30)
    whole = fit_bytes(picture, crop)
    monkeypatch.setattr(resize, "STRIP_BYTES", strip_bytes)
    assert torch.equal(fit_bytes(picture, crop), whole)
    for start in range(crop[0]):
        assert torch.equal(fit_bytes(picture, crop, start, crop[0]), whole[:, :, start:])


def test_picture_of_the_size_of_the_crop_stays_as_it_is():
    picture = draw(31, 31)
    assert torch.equal(fit_bytes(picture, (31, 31)), picture)


def test_fitted_values_are_opencvs():
    """Made with cv2.warpAffine of OpenCV 5.0.0 (INTER_LINEAR, BORDER_CONSTANT), the matrix that of CE2P."""
    picture = torch.tensor([[10, 200, 30, 90], [250, 0, 60, 120], [7, 77, 177, 255]], dtype=torch.uint8)
    fitted = fit_bytes(picture[None, None], (6, 5))[0, 0].int()
    assert (fitted - torch.tensor(OPENCV_WARP)).abs().max() <= 1


OPENCV_WARP = [
    [1, 19, 14, 6, 11],
    [9, 133, 101, 39, 79],
    [160, 96, 62, 64, 109],
    [159, 61, 66, 121, 171],
    [6, 52, 111, 172, 223],
    [1, 7, 16, 25, 32],
]

OPENCV = [[42, 115, 80], [108, 81, 92], [208, 30, 110], [94, 88, 189], [18, 127, 242]]
