import resource
import struct
import warnings
import zlib
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image

from ccnet_data.decode import LARGEST, decode
from ccnet_data.errors import DataError
from ccnet_data.pictures import read_indices, read_picture

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of each pass (PNG specification, section 8.2)."""


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (11, 13, 3), np.uint8)


def several(count, file_format, **options):
    stream = BytesIO()
    first, *others = (Image.new("RGB", (8, 8), (number * 60, 0, 0)) for number in range(count))
    first.save(stream, format=file_format, save_all=True, append_images=others, **options)
    return stream.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_every_lossless_format_gives_its_pixels(png, colours, file_format):
    np.testing.assert_array_equal(np.asarray(decode(png(colours, file_format), "a").picture), colours)


def test_an_interlaced_png_gives_its_pixels(raw_png, colours):
    rows = [
        row.tobytes() for y, x, down, right in ADAM7 for row in colours[y::down, x::right] if colours[0, x::right].size
    ]
    content = raw_png(13, 11, depth=8, colour_type=2, rows=rows, interlace=1)
    np.testing.assert_array_equal(np.asarray(decode(content, "a").picture), colours)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_and_pages_are_refused_with_the_remedy(file_format):
    with pytest.raises(DataError, match=r"^a: holds several pictures \(frames or pages\); save the wanted one"):
        decode(several(3, file_format), "a")


def test_a_gif_of_one_frame_is_a_picture():
    assert decode(several(1, "GIF"), "a").picture.size == (8, 8)


def test_of_a_cameras_jpeg_the_first_picture_is_meant():
    content = several(2, "MPO")
    picture, _ = decode(content, "a.jpg")
    assert picture.format == "MPO"
    assert np.asarray(picture).max() < 10


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (LARGEST + 1, 1)])
def test_a_tiny_file_that_claims_to_be_enormous_is_refused_before_it_is_decoded(raw_png, width, height):
    bomb = raw_png(width, height, depth=8, colour_type=0, rows=[b"\0" * 100])
    with pytest.raises(DataError, match=rf"^a: says it is {width}x{height} pixels, more than {LARGEST} in all; cut"):
        decode(bomb, "a")


def test_a_picture_of_100_megapixels_is_read_without_a_warning(raw_png):
    """Pillow warns at 89 megapixels, which warnings-as-errors would raise here."""
    row = bytes([0b01010101]) * 1250
    picture, _ = decode(raw_png(10_000, 10_000, depth=1, colour_type=0, rows=[row] * 10_000), "a")
    assert picture.size == (10_000, 10_000)
    assert picture.getpixel((9_999, 9_999)) == 255


def test_formats_that_run_programs_are_not_opened():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="no picture format begins like this"):
        decode(postscript, "a.jpg")


def test_warnings_of_pillow_are_kept_in_and_the_filters_stay(png, colours):
    # An EXIF block that ends in the middle of an entry: Pillow warns "Corrupt EXIF data".
    damaged = png(colours, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03")
    before = list(warnings.filters)
    np.testing.assert_array_equal(np.asarray(decode(damaged, "a").picture), colours)
    assert warnings.filters == before


def originals(png):
    grey = np.random.default_rng(0).integers(0, 256, (24, 32), np.uint8)
    rgb = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = BytesIO()
    Image.fromarray(grey).quantize(8).save(palette, format="PNG", transparency=1)
    return [
        png(grey),
        png(rgb),
        png(np.dstack([rgb, grey])),
        png(grey.astype(np.uint16)),
        palette.getvalue(),
        png(rgb, exif=exif),
        png(rgb, "JPEG"),
        png(grey, "JPEG"),
        png(rgb, "JPEG", exif=exif, progressive=True),
        png(rgb, "TIFF", compression="tiff_lzw", exif=exif),
        png(rgb, "WEBP", exif=exif),
        png(rgb, "BMP"),
        several(2, "GIF"),
        several(2, "PNG"),
    ]


def mutated(content, rng):
    """Return `content` with some bytes changed, some taken out, or an end cut off."""
    bytes_ = bytearray(content)
    for _ in range(int(rng.integers(1, 8))):
        bytes_[int(rng.integers(len(bytes_)))] = int(rng.integers(256))
    if rng.random() < 0.3:
        start = int(rng.integers(len(bytes_)))
        del bytes_[start : start + int(rng.integers(1, 64))]
    if rng.random() < 0.2:
        del bytes_[int(rng.integers(1, len(bytes_) + 1)) :]
    return bytes(bytes_)


def repaired(content):
    """Return a PNG whose checksums are right again, so that damage reaches the decoders behind them."""
    out, place = content[:8], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        out += content[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return out


def read_or_refuse(reader, content):
    """Return the array of `content`, or the DataError that says it cannot be read; anything else is a failure."""
    try:
        return reader(content, "a")
    except DataError as error:
        return error


def test_two_thousand_damaged_files_are_arrays_or_errors_that_name_them(png):
    rng = np.random.default_rng(7)
    contents = originals(png)
    arrays = 0
    for number in range(2000):
        content = mutated(contents[number % len(contents)], rng)
        for damaged, (reader, axes) in product((content, repaired(content)), ((read_picture, 3), (read_indices, 2))):
            found = read_or_refuse(reader, damaged)
            if isinstance(found, DataError):
                assert str(found).startswith("a: ")
            else:
                assert (found.dtype, found.ndim) == (np.uint8, axes)
                arrays += 1
    assert arrays > 100
    # A damaged header may claim 2 GB in a file of 2 kB, which `LARGEST` allows.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3_500_000
