import numpy as np
import pytest
from PIL import Image

from ccnet_data.errors import DataError
from ccnet_data.pictures import (
    channels_first,
    channels_last,
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


def test_a_picture_is_turned_upright_as_its_exif_data_says(tmp_path, colours):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by 90 degrees
    Image.fromarray(colours).save(tmp_path / "a.png", exif=exif)
    image = read_picture(read_file(tmp_path / "a.png"), "a.png")
    np.testing.assert_array_equal(image, np.rot90(colours, -1).transpose(2, 0, 1))


def test_16_bits_of_colour_keep_their_upper_8(raw_png):
    pixels = bytes.fromhex("ff00 8012 00ff")
    image = read_picture(raw_png(1, 1, depth=16, colour_type=2, rows=[pixels]), "a.png")
    np.testing.assert_array_equal(image[:, 0, 0], [255, 128, 0])


def test_16_bits_of_grey_are_refused_with_the_remedy(png):
    with pytest.raises(DataError, match=r"^a\.png: the picture has mode 'I;16'; save it with 8 bits per channel"):
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


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.uint16), np.zeros((2, 2), bool)])
def test_a_label_map_of_another_depth_is_refused(png, array):
    with pytest.raises(DataError, match="the label has mode"):
        read_indices(png(array), "a.png")


def test_a_grey_label_map_of_2_bits_is_refused_since_pillow_would_spread_its_values(raw_png):
    with pytest.raises(DataError, match="greyscale with 2 bits; save it with 8 bits"):
        read_indices(raw_png(4, 1, depth=2, colour_type=0, rows=[b"\x1b"]), "a.png")


def test_a_lossy_label_map_is_refused(png, labels):
    with pytest.raises(DataError, match="labels must be PNG, not JPEG"):
        read_indices(png(labels, "JPEG"), "a.jpg")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.png: cannot be read \(No such file"):
        read_file(tmp_path / "none.png")


def test_different_sizes_are_both_told():
    image = np.zeros((3, 2, 4), np.uint8)
    require_same_size(image, np.zeros((2, 4), np.uint8), "a")
    with pytest.raises(DataError, match=r"^a: the picture is 4x2 .* label is 2x4"):
        require_same_size(image, np.zeros((4, 2), np.uint8), "a")


def test_channels_first_undoes_channels_last(colours):
    image = np.ascontiguousarray(colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(channels_first(channels_last(image)), image)
