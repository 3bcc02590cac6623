import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from ccnet_data import pictures
from ccnet_data.errors import DataError, SizeMismatchError
from ccnet_data.pictures import (
    channels_first,
    channels_last,
    read_colours,
    read_file,
    read_indices,
    read_picture,
    require_same_size,
)


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


@pytest.fixture
def labels():
    return np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def test_a_picture_becomes_channels_first_bytes(png, colours):
    image = read_picture(png(colours), "a.png")
    np.testing.assert_array_equal(image, colours.transpose(2, 0, 1))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_grey_becomes_three_equal_channels(png, colours):
    image = read_picture(png(colours[..., 0]), "a.png")
    np.testing.assert_array_equal(image, np.stack([colours[..., 0]] * 3))


def test_of_an_alpha_channel_the_colours_beneath_are_kept(png, colours):
    transparent = np.dstack([colours, np.zeros((4, 6), np.uint8)])
    np.testing.assert_array_equal(read_picture(png(transparent), "a.png"), colours.transpose(2, 0, 1))


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128])])
def test_a_palette_is_looked_up_with_or_without_transparency(tmp_path, transparency):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 200, 210, 220])
    file = tmp_path / "a.png"
    picture.save(file, **({} if transparency is None else {"transparency": transparency}))
    image = read_picture(read_file(file), "a.png")
    np.testing.assert_array_equal(image[:, 0], np.array([[10, 200], [20, 210], [30, 220]]))


def test_black_and_white_becomes_0_and_255(png):
    image = read_picture(png(np.array([[True, False]])), "a.png")
    np.testing.assert_array_equal(image, np.array([[[255, 0]]] * 3))


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    image = read_picture(read_file(tmp_path / "a.tif"), "a.tif")
    np.testing.assert_array_equal(image[:, 0, 0], [255, 0, 0])


# What shows a picture of each EXIF orientation upright, as CIPA DC-008 words it: "the 0th row is at the visual ...".
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_upright_as_its_exif_data_says(png, colours, orientation, file_format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if file_format == "WEBP" else {}
    image = read_picture(png(colours, file_format, exif=exif, **lossless), "a")
    np.testing.assert_array_equal(image, UPRIGHT[orientation](colours).transpose(2, 0, 1))


def test_a_jpeg_is_turned_upright(png, colours):
    exif = Image.Exif()
    exif[0x0112] = 8
    large = np.kron(colours, np.ones((16, 16, 1), np.uint8))
    turned, stored = (read_picture(png(large, "JPEG", **options), "a.jpg") for options in ({"exif": exif}, {}))
    np.testing.assert_array_equal(turned, np.rot90(stored, axes=(1, 2)))


def test_an_orientation_that_does_not_exist_turns_nothing(png, colours):
    exif = Image.Exif()
    exif[0x0112] = 9
    np.testing.assert_array_equal(read_picture(png(colours, exif=exif), "a.png"), colours.transpose(2, 0, 1))


def test_a_cmyk_jpeg_is_converted():
    stream = BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(stream, format="JPEG", quality=95)
    image = read_picture(stream.getvalue(), "a.jpg")
    np.testing.assert_allclose(image[:, 8, 8].astype(int), [255, 0, 0], atol=3)


def test_grey_with_alpha_keeps_the_grey(png, colours):
    image = read_picture(png(colours[..., :2]), "a.png")
    np.testing.assert_array_equal(image, np.stack([colours[..., 0]] * 3))


def test_a_colour_profile_changes_nothing(png, colours):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(read_picture(png(colours, icc_profile=profile), "a.png"), colours.transpose(2, 0, 1))


def test_16_bits_of_colour_keep_their_upper_8(raw_png):
    pixels = bytes.fromhex("ff00 8012 00ff")
    image = read_picture(raw_png(1, 1, depth=16, colour_type=2, rows=[pixels]), "a.png")
    np.testing.assert_array_equal(image[:, 0, 0], [255, 128, 0])


def test_16_bits_of_grey_are_refused_with_the_remedy(png):
    with pytest.raises(
        DataError, match=r"^a\.png: the picture has mode 'I;16'; save it with 8 bits .*magick OLD -depth 8 NEW"
    ):
        read_picture(png(np.full((2, 2), 40000, np.uint16)), "a.png")


@pytest.mark.parametrize("read", [read_picture, read_indices])
class TestDamagedFiles:
    def test_an_empty_file(self, read):
        with pytest.raises(DataError, match=r"^a\.png: the file is empty \(0 bytes\)"):
            read(b"", "a.png")

    def test_a_text_file(self, read):
        with pytest.raises(DataError, match=r"^a\.png: not a readable picture \(no picture format begins like this\)"):
            read(b"hello, this is text\n" * 10, "a.png")

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
    def test_a_truncated_file(self, read, share, png):
        content = png(np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8))
        with pytest.raises(DataError, match=r"^a\.png: not a readable picture .*again"):
            read(content[: int(len(content) * share)], "a.png")

    def test_flipped_bytes(self, read, png):
        content = bytearray(png(np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)))
        content[60:80] = bytes(20)
        with pytest.raises(DataError, match=r"^a\.png: not a readable picture"):
            read(bytes(content), "a.png")


def test_a_truncated_jpeg(png, colours):
    content = png(np.tile(colours, (20, 20, 1)), "JPEG")
    with pytest.raises(DataError, match=r"^a\.jpg: not a readable picture .*truncated"):
        read_picture(content[: len(content) // 2], "a.jpg")


def test_a_grey_label_map_is_read_as_it_is(png, labels):
    label = read_indices(png(labels), "a.png")
    np.testing.assert_array_equal(label, labels)
    assert label.dtype == np.uint8
    assert label.flags.writeable


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_palette_label_map_gives_its_indices(tmp_path, labels, bits):
    picture = Image.fromarray(labels % 255).convert("P")
    picture.putdata((labels % 255).ravel().tolist())
    picture.putpalette([9, 9, 9, 80, 80, 80, 70, 70, 70])
    picture.save(tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_indices(read_file(tmp_path / "a.png"), "a.png"), labels % 255)


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA"), (2, "LA")])
def test_a_label_map_of_colours_is_refused_with_the_remedy(png, labels, channels, mode):
    with pytest.raises(DataError, match=f"the label has mode '{mode}'.*map its colours to indices"):
        read_indices(png(np.dstack([labels] * channels)), "a.png")


def test_a_label_map_of_16_bits_is_refused(png):
    with pytest.raises(DataError, match="the label has mode 'I;16'"):
        read_indices(png(np.zeros((2, 2), np.uint16)), "a.png")


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_grey_label_map_of_few_bits_is_refused_since_pillow_would_spread_its_values(raw_png, depth):
    with pytest.raises(DataError, match=rf"greyscale of depth {depth}; save it with 8 bits or with a palette"):
        read_indices(raw_png(2, 1, depth=depth, colour_type=0, rows=[b"\x40"]), "a.png")


def test_a_palette_label_map_of_1_bit_gives_its_indices(raw_png):
    palette = (b"PLTE", bytes(6))
    label = read_indices(raw_png(4, 1, depth=1, colour_type=3, rows=[b"\x50"], chunks=[palette]), "a.png")
    np.testing.assert_array_equal(label, [[0, 1, 0, 1]])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_label_map_with_an_orientation_is_refused_since_it_may_mean_either(png, labels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    with pytest.raises(DataError, match=r"^a\.png: the label has an EXIF orientation; save it upright"):
        read_indices(png(labels, exif=exif), "a.png")


def test_a_label_map_whose_exif_data_say_upright_is_read(png, labels):
    exif = Image.Exif()
    exif[0x0112] = 1
    np.testing.assert_array_equal(read_indices(png(labels, exif=exif), "a.png"), labels)


def test_a_lossy_label_map_is_refused(png, labels):
    with pytest.raises(DataError, match="labels must be PNG, not JPEG"):
        read_indices(png(labels, "JPEG"), "a.jpg")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.png: cannot be read \(No such file"):
        read_file(tmp_path / "none.png")


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_file(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_a_file_without_rights_is_named(tmp_path):
    file = tmp_path / "secret.png"
    file.write_bytes(b"x")
    file.chmod(0)
    code = (
        "import os, pathlib, sys; from ccnet_data.pictures import read_file; os.setuid(65534); "
        "read_file(pathlib.Path(sys.argv[1]))"
    )
    # Everybody may pass the folders above, so that the file alone refuses.
    for folder in file.parents[:4]:
        folder.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert "secret.png: cannot be read (Permission denied); check that it exists and its permissions." in result.stderr


@pytest.mark.parametrize("name", ["straße.png", "写真.png", "e\u0301.png", "a b: c.png"])
def test_names_of_any_script_are_read(tmp_path, png, colours, name):
    (tmp_path / name).write_bytes(png(colours))
    image = read_picture(read_file(tmp_path / name), name)
    np.testing.assert_array_equal(image, colours.transpose(2, 0, 1))


def test_different_sizes_are_both_told():
    image = np.zeros((3, 2, 4), np.uint8)
    require_same_size(image, np.zeros((2, 4), np.uint8), "a")
    with pytest.raises(SizeMismatchError, match=r"^a: the picture is 4x2 .* label is 3x2; make one label pixel per"):
        require_same_size(image, np.zeros((2, 3), np.uint8), "a")


def test_a_label_on_its_side_hints_at_the_exif_data_of_the_picture(png, colours):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_picture(png(colours, exif=exif), "a.png")
    with pytest.raises(SizeMismatchError, match=r"the picture is 4x6 .* label is 6x4; if the picture's EXIF orient"):
        require_same_size(image, np.zeros((4, 6), np.uint8), "a")


def test_channels_first_undoes_channels_last(colours):
    image = np.ascontiguousarray(colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(channels_first(channels_last(image)), image)


@pytest.mark.parametrize("pixels", [1, 6, 13, 18])
def test_strips_leave_no_seams(colours, monkeypatch, pixels):
    monkeypatch.setattr(pictures, "_STRIP", pixels)
    np.testing.assert_array_equal(channels_first(Image.fromarray(colours)), colours.transpose(2, 0, 1))


class TestReadColours:
    """What it gives is tested where colours become classes."""

    def test_alpha_is_left_out(self, png):
        colours = np.array([[(1, 2, 3, 0), (4, 5, 6, 255)]], np.uint8)
        np.testing.assert_array_equal(read_colours(png(colours), "a.png"), [[[1, 4]], [[2, 5]], [[3, 6]]])

    def test_16_bits_of_grey_are_refused(self, png):
        with pytest.raises(DataError, match=r"^a\.png: the label has mode 'I;16'; save its colours as an RGB PNG"):
            read_colours(png(np.zeros((2, 2), np.uint16)), "a.png")

    def test_an_exif_orientation_is_refused(self, png):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        with pytest.raises(DataError, match=r"^a\.png: the label has an EXIF orientation"):
            read_colours(png(np.zeros((2, 2, 3), np.uint8), exif=exif), "a.png")
