import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.config import PixelStatistics
from ccnet_core.preprocess import Normalise, read_picture, to_tensor


def test_path_image_array_and_tensor_give_the_same_tensor(picture, tmp_path):
    path = tmp_path / "bild ä.png"
    Image.fromarray(picture).save(path)
    expected = torch.from_numpy(picture).permute(2, 0, 1)
    for form in (path, str(path), Image.fromarray(picture), picture, picture[:, ::-1][:, ::-1], expected):
        assert torch.equal(to_tensor(form), expected)


@pytest.mark.parametrize(("dtype", "mode"), [(np.uint16, "I;16"), (np.int32, "I"), (np.float32, "F")])
def test_deep_pixels_are_refused_because_they_would_be_clipped(tmp_path, dtype, mode):
    Image.fromarray(np.full((4, 4), 300, dtype)).save(tmp_path / "deep.tif")
    with pytest.raises(ccnet.PictureError, match=rf"deep\.tif: has 16 bit or float pixels \(mode {mode}\)"):
        read_picture(tmp_path / "deep.tif")


def test_folder_is_no_picture(tmp_path):
    with pytest.raises(ccnet.PictureError, match="this is a folder"):
        read_picture(tmp_path)


def test_read_only_array_is_copied(picture):
    picture.flags.writeable = False
    tensor = to_tensor(picture)
    tensor += 1
    assert tensor[0, 0, 0] == picture[0, 0, 0] + 1


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(picture, tmp_path, mode):
    Image.fromarray(picture).convert(mode).save(tmp_path / "a.tif")
    assert to_tensor(tmp_path / "a.tif").shape == (3, 37, 51)


def test_exif_orientation_is_applied(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    assert to_tensor(tmp_path / "a.png").shape == (3, 51, 37)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "not a picture that Pillow can read"),
        (b"these are words", "not a picture that Pillow can read"),
        ("truncated", "damaged or unreadable"),
    ],
)
def test_bad_file_is_named(picture, tmp_path, content, message):
    path = tmp_path / "bad.png"
    if content == "truncated":
        Image.fromarray(picture).save(path)
        content = path.read_bytes()[:2000]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ccnet.PictureError, match=f"bad.png: .*{message}"):
        read_picture(path)


def test_decompression_bomb_is_refused(picture, tmp_path, monkeypatch):
    Image.fromarray(picture).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ccnet.PictureError, match="more than 1000 pixels"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \(H, W, 3\) RGB, got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3)), r"got float64 \(4, 4, 3\)"),
        (torch.zeros(3, 4, 4), r"uint8 \(3, H, W\) RGB, got torch.float32"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), r"got torch.uint8 \(4, 4, 3\)"),
        (torch.zeros(3, 0, 4, dtype=torch.uint8), "empty"),
        (17, "got int"),
    ],
)
def test_wrong_shape_or_type_is_named(picture, message):
    with pytest.raises(ccnet.PictureError, match=message):
        to_tensor(picture)


def test_bgr_statistics_turn_the_channels():
    normalise = Normalise(PixelStatistics(mean=(1, 2, 3), std=(1, 1, 2), channel_order="bgr"))
    rgb = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)
    assert normalise(rgb).flatten().tolist() == [29.0, 18.0, 3.5]
    assert "mean" not in normalise.state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_statistics_keep_float32_whatever_the_dtype_of_the_model(dtype):
    normalise = Normalise(PixelStatistics())
    image = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    expected = normalise(image)
    actual = normalise.to(dtype)(image)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)
