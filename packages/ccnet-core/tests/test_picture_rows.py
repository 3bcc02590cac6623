"""Rows of TIFF and .npy files, held to what was written into them."""

import itertools

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import picture_rows
from ccnet_core.picture_rows import open_rows

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

FORMS = {
    "one strip": {},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 32)},
    "tiles as wide as the picture": {"tile": (16, 64)},
    "BigTIFF": {"tile": (16, 16), "bigtiff": True},
    "big-endian": {"byteorder": ">", "tile": (16, 16)},
    "deflate": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "deflated strips": {"rowsperstrip": 7, "compression": "zlib"},
    "LZW": {"tile": (16, 16), "compression": "lzw", "predictor": True},
    "Zstandard": {"tile": (16, 16), "compression": "zstd"},
    "PackBits": {"rowsperstrip": 3, "compression": "packbits"},
}


def draw(height=53, width=64, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def write(tmp_path, pixels, **options):
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, pixels, **({"photometric": "rgb"} | options))
    return path


def read_all(path, step):
    """Read a picture in steps of rows, (H, W, 3)."""
    with open_rows(path) as rows:
        starts = range(0, rows.size[0], step)
        return np.concatenate([read(rows, start, min(start + step, rows.size[0])) for start in starts])


def read(rows, start, stop):
    out = np.full((3, stop - start, rows.size[1]), 77, np.uint8)
    rows.read(start, out)
    return out.transpose(1, 2, 0)


@pytest.mark.parametrize("step", [1, 6, 100])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_rows_are_those_that_were_written(tmp_path, form, step):
    pixels = draw()
    np.testing.assert_array_equal(read_all(write(tmp_path, pixels, **form), step), pixels)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 15), (33, 31)])
@pytest.mark.parametrize("form", ["strips", "tiles", "deflate"])
def test_every_size_is_read(tmp_path, height, width, form):
    pixels = draw(height, width)
    np.testing.assert_array_equal(read_all(write(tmp_path, pixels, **FORMS[form]), 4), pixels)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_tiles_are_read_as_tifffile_and_almost_as_pillow_reads_them(tmp_path, photometric, subsampling):
    smooth = np.asarray(Image.fromarray(draw(6, 8)).resize((96, 80), Image.Resampling.BICUBIC))
    options = {"compression": "jpeg", "tile": (32, 32), "compressionargs": {"level": 95}}
    stored = smooth
    if photometric == "ycbcr":
        options["subsampling"] = subsampling
        stored = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    path = write(tmp_path, stored, photometric=photometric, **options)
    pixels = read_all(path, 9)
    np.testing.assert_array_equal(pixels, tifffile.imread(path))
    assert np.abs(pixels.astype(int) - smooth).mean() < 3
    with Image.open(path) as image:
        assert np.abs(pixels.astype(int) - np.asarray(image.convert("RGB"))).max() <= 8


def test_fourth_channel_is_left_out(tmp_path):
    pixels = draw(channels=4)
    for form in (FORMS["one strip"], FORMS["tiles"]):
        path = write(tmp_path, pixels, extrasamples=["unassalpha"], **form)
        np.testing.assert_array_equal(read_all(path, 7), pixels[..., :3])


def test_first_page_of_a_pyramid_is_read(tmp_path):
    pixels, path = draw(), tmp_path / "picture.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, photometric="rgb", tile=(16, 16), subifds=1)
        writer.write(pixels[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=1)
    np.testing.assert_array_equal(read_all(path, 10), pixels)


def test_tiles_that_were_never_written_are_black(tmp_path):
    pixels = draw(32, 32)
    tiles = [pixels[:16, :16], None, None, pixels[16:, 16:]]
    path = write(tmp_path, iter(tiles), shape=(32, 32, 3), dtype=np.uint8, tile=(16, 16), compression="zlib")
    pixels[:16, 16:] = pixels[16:, :16] = 0
    np.testing.assert_array_equal(read_all(path, 5), pixels)


def test_only_the_tiles_of_the_rows_are_decoded(tmp_path, monkeypatch):
    with open_rows(write(tmp_path, draw(), **FORMS["deflate"])) as rows:
        decoded, decode = [], rows._decode
        monkeypatch.setattr(rows, "_decode", lambda index: decoded.append(index) or decode(index))
        read(rows, 17, 32)
    assert decoded == [4, 5, 6, 7]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_are_read_in_every_version_of_the_format(tmp_path, version):
    pixels = draw()
    with (tmp_path / "picture.npy").open("wb") as file:
        np.lib.format.write_array(file, pixels, version)
    np.testing.assert_array_equal(read_all(tmp_path / "picture.npy", 6), pixels)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5, 3), np.uint16), r"must hold uint8 \(H, W, 3\) RGB, row by row, got uint16 \(4, 5, 3\)"),
        (np.zeros((4, 5), np.uint8), r".*got uint8 \(4, 5\)"),
        (np.zeros((4, 5, 4), np.uint8), r".*got uint8 \(4, 5, 4\)"),
        (np.asfortranarray(np.zeros((4, 5, 3), np.uint8)), ".*got uint8 .*, its columns first"),
        (np.zeros((0, 5, 3), np.uint8), "the picture is empty, 0 rows of 5 pixels"),
        (np.array([{}]), ".*row by row, got object"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "picture.npy", array, allow_pickle=True)
    with pytest.raises(ccnet.PictureError, match=rf"picture\.npy: {message}"), open_rows(tmp_path / "picture.npy"):
        pass


GREY = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (draw().astype(np.uint16), {}, "has 16 bits a channel"),
        (draw().astype(np.float32), {}, "has 32 bits a channel"),
        (draw()[..., 0], GREY, "has 1 channels"),
        (draw(channels=5), {"extrasamples": ["unspecified"] * 2}, "has 5 channels"),
        (draw(), GREY | {"planarconfig": "contig"}, r"has colours other than RGB \(photometric 1\)"),
        (draw().transpose(2, 0, 1), {"planarconfig": "separate"}, r"stores each channel on its own \(planar\)"),
        (draw(channels=4), {"extrasamples": ["assocalpha"]}, "has colours multiplied by their alpha"),
        (draw(), {"extratags": [(274, "H", 1, 6, True)]}, "is stored turned or mirrored"),
    ],
)
def test_other_tiffs_are_refused(tmp_path, pixels, options, message):
    path = write(tmp_path, pixels, **options)
    with pytest.raises(ccnet.PictureError, match=rf"picture\.tif: {message}.*Save it as RGB"), open_rows(path):
        pass


def test_strips_that_are_too_large_to_decode_at_once_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_rows, "LARGEST_SEGMENT", 53 * 64 * 3 - 1)
    path = write(tmp_path, draw(), compression="zlib", rowsperstrip=53)
    with (
        pytest.raises(ccnet.PictureError, match=r"strips of 53 rows are too large\. Store it in tiles"),
        open_rows(path),
    ):
        pass


@pytest.mark.parametrize("form", [*FORMS, ".npy"])
def test_file_that_ends_too_early_is_refused_when_it_is_opened(tmp_path, form):
    if form == ".npy":
        path = tmp_path / "picture.npy"
        np.save(path, draw())
    else:
        path = write(tmp_path, draw(), **FORMS[form])
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100, 9, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(ccnet.PictureError, match=r"picture\.(tif|npy): "), open_rows(path):
            pass


def test_damage_that_only_decoding_shows_names_the_file(tmp_path):
    path = write(tmp_path, draw(), **FORMS["deflate"])
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[5]
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 40] = bytes(40)
    path.write_bytes(damaged)
    with open_rows(path) as rows:
        read(rows, 0, 16)
        with pytest.raises(ccnet.PictureError, match=r"picture\.tif: damaged or unreadable"):
            read(rows, 16, 32)


def test_file_that_was_cut_while_it_was_open_names_the_file(tmp_path):
    for name, form in itertools.product(["picture.npy", "picture.tif"], ["one strip", "deflate"]):
        np.save(tmp_path / name, draw()) if name.endswith("npy") else write(tmp_path, draw(), **FORMS[form])
        with open_rows(tmp_path / name) as rows:
            with (tmp_path / name).open("r+b") as file:
                file.truncate(3000)
            with pytest.raises(ccnet.PictureError, match="damaged or unreadable"):
                read(rows, 0, 53)


@pytest.mark.parametrize("name", ["missing.tif", "missing.npy", "folder.tif", "text.tif", "text.npy"])
def test_what_is_no_picture_is_named(tmp_path, name):
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "text.tif").write_text("not a picture")
    (tmp_path / "text.npy").write_text("not a picture")
    with pytest.raises(ccnet.PictureError, match=name), open_rows(tmp_path / name):
        pass


@pytest.mark.parametrize("missing", ["tifffile", "imagecodecs"])
def test_missing_extra_is_named(tmp_path, missing, monkeypatch):
    path = write(tmp_path, draw())
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    message = rf'TIFF needs {missing}, which is not installed: python -m pip install "ccnet-core\[large\]"'
    with pytest.raises(ccnet.PictureError, match=message), open_rows(path):
        pass
    np.save(tmp_path / "picture.npy", draw())
    np.testing.assert_array_equal(read_all(tmp_path / "picture.npy", 9), draw())
