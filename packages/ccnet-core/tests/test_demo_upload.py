import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.demo.upload import read_upload

LARGEST = 51 * 37


def read(path, largest=LARGEST):
    return read_upload(path, largest).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_what_is_stored_without_loss_is_read_as_it_is(picture, tmp_path, kind):
    image = Image.fromarray(picture).quantize(200)
    image = image.convert("RGB") if kind == "PPM" else image
    image.save(tmp_path / "a", format=kind)
    np.testing.assert_array_equal(read(tmp_path / "a"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGBA"), ("WEBP", "RGB")])
def test_every_other_mode_becomes_rgb(picture, tmp_path, kind, mode):
    smooth = Image.fromarray(picture).resize((4, 4)).resize((51, 37))
    smooth.convert(mode).save(tmp_path / "a", format=kind, quality=100)
    expected = np.asarray(smooth.convert(mode).convert("RGB"), int)
    assert np.abs(read(tmp_path / "a") - expected).max() <= 16


def test_a_photo_is_turned_upright(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "a.png"), np.rot90(picture, -1))


def test_the_first_picture_of_a_phone_is_its_photo(picture, tmp_path):
    photo = Image.fromarray(picture)
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photo.resize((5, 5))])
    assert read(tmp_path / "a.jpg").shape == picture.shape


def test_one_pixel_more_than_allowed_is_refused(photo):
    assert read(photo).shape == (37, 51, 3)
    with pytest.raises(ccnet.PictureError) as refused:
        read(photo, LARGEST - 1)
    assert str(refused.value) == "photo.png: 51x37 is more than 1886 pixels. Make it smaller."


def test_a_file_that_was_deleted_meanwhile_is_asked_for_again(tmp_path):
    with pytest.raises(ccnet.PictureError) as refused:
        read(tmp_path / "a.png")
    assert str(refused.value) == "a.png: no longer here. Drop it again."


def bomb(path, width, height):
    """Write a small PNG whose header promises many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000)])
@pytest.mark.usefixtures("little_memory")
def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path, size):
    bomb(tmp_path / "a.png", *size)
    with pytest.raises(ccnet.PictureError, match=r"^a.png: .*more than 1887 pixels. Make it smaller"):
        read(tmp_path / "a.png")


def write_text(path, picture):
    path.write_text("not a picture")


def write_half(path, picture):
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_moving(path, picture):
    Image.fromarray(picture).save(path, format="GIF", save_all=True, append_images=[Image.fromarray(255 - picture)])


def write_deep(path, picture):
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(path)


def write_postscript(path, picture):
    Image.fromarray(picture).save(path, format="EPS")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (write_text, "a.png: not a picture. Give a PNG, JPEG, WEBP, BMP, TIFF, GIF or PPM file."),
        (write_half, "a.png: damaged or unreadable ("),
        (write_moving, "a.png: holds several pictures. Save one of them as PNG."),
        (write_deep, "a.png: has 16 bit or float pixels (mode I;16). Save it with 8 bits a channel."),
        (write_postscript, "a.png: not a picture. Give a "),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name_alone(picture, tmp_path, write, says):
    write(tmp_path / "a.png", picture)
    with pytest.raises(ccnet.PictureError) as refused:
        read(tmp_path / "a.png")
    assert str(refused.value).startswith(says)
    assert str(tmp_path) not in str(refused.value)
