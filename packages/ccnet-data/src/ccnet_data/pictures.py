"""Where files become arrays: every picture and every label map of every layout is read here."""

from pathlib import Path

import numpy as np
from PIL import Image

from .decode import Decoded, decode
from .errors import DataError, SizeMismatchError, reading
from .sample import Pixels

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
_LABEL_MODES = {"L", "P"}
_PNG_BIT_DEPTH = 24
"""Offset of the bit depth in a PNG file (PNG specification, section 11.2.1: the header chunk comes first)."""
_STRIP = 2**16
"""Pixels that are split into channels at a time. They stay in the cache: half the time of the whole at once."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright (CIPA DC-008, section 4.6.4 A); Pillow turns anticlockwise."""


def read_picture(content: bytes, where: str) -> Pixels:
    """Decode a picture to uint8 (3, H, W), RGB, 0-255, turned upright as its EXIF data says.

    Greyscale, palette and CMYK pictures are converted; of an alpha channel only the colours beneath are kept, as OpenCV
    does. Raises DataError, beginning with `where`, for a damaged file and for 16 bits of grey, whose scale is unknown.
    """
    picture, orientation = decode(content, where)
    if picture.mode not in _EIGHT_BIT_MODES:
        raise DataError(
            f"{where}: the picture has mode {picture.mode!r}; save it with 8 bits per channel "
            "(ImageMagick: magick OLD -depth 8 NEW)."
        )
    rgb = _rgb(picture)
    return channels_first(rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb)


def read_indices(content: bytes, where: str) -> Pixels:
    """Decode a label map to uint8 (H, W), the values as they are in the file.

    It must be a PNG of one channel, greyscale with 8 bits or with a palette, whose indices are then the values. Raises
    DataError, beginning with `where`, for anything else, since converting would invent labels.
    """
    decoded = decode(content, where)
    _refuse_wrong_label_file(decoded, where)
    _refuse_wrong_index_format(decoded.picture, content, where)
    return np.array(decoded.picture)


def read_colours(content: bytes, where: str) -> Pixels:
    """Decode a label map in colours to uint8 (3, H, W), RGB, 0-255, as they are in the file; alpha is left out.

    It must be a PNG. Raises DataError, beginning with `where`, for anything else.
    """
    decoded = decode(content, where)
    _refuse_wrong_label_file(decoded, where)
    if decoded.picture.mode not in _EIGHT_BIT_MODES:
        raise DataError(f"{where}: the label has mode {decoded.picture.mode!r}; save its colours as an RGB PNG.")
    return channels_first(_rgb(decoded.picture))


def read_file(file: Path) -> bytes:
    """Return the bytes of `file`. Raises DataError when it cannot be opened."""
    with reading(file):
        return file.read_bytes()


def require_same_size(image: Pixels, label: Pixels, where: str) -> None:
    """Raise SizeMismatchError unless `image` (3, H, W) and `label` (H, W) share height and width."""
    if image.shape[1:] == label.shape:
        return
    remedy = "make one label pixel per picture pixel, resizing with nearest neighbour"
    if image.shape[1:] == label.shape[::-1]:
        remedy = "if the picture's EXIF orientation turns it on its side, turn the label the same way"
    raise SizeMismatchError(
        f"{where}: the picture is {_extent(image.shape[1:])} (width x height, upright) but its label is "
        f"{_extent(label.shape)}; {remedy}."
    )


def channels_first(picture: Image.Image) -> Pixels:
    """Return an RGB picture as a fresh uint8 array (3, H, W)."""
    image = np.empty((3, picture.height, picture.width), np.uint8)
    step = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, step):
        strip = picture.crop((0, top, picture.width, min(top + step, picture.height)))
        for channel, rows in zip("RGB", image[:, top : top + step], strict=True):
            rows[:] = np.frombuffer(strip.tobytes("raw", channel), np.uint8).reshape(rows.shape)
    return image


def channels_last(image: Pixels) -> Image.Image:
    """Return uint8 (3, H, W) as an RGB picture."""
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def _rgb(picture: Image.Image) -> Image.Image:
    if "transparency" in picture.info:
        # Straight to RGB, Pillow warns about palettes with transparency.
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _refuse_wrong_label_file(decoded: Decoded, where: str) -> None:
    file_format = decoded.picture.format
    if file_format != "PNG":
        raise DataError(f"{where}: labels must be PNG, not {file_format}; lossy formats change label values.")
    if decoded.orientation in _UPRIGHT:
        # Whether its pixels or its metadata were copied from the picture, nobody can tell.
        raise DataError(f"{where}: the label has an EXIF orientation; save it upright and without EXIF data.")


def _refuse_wrong_index_format(picture: Image.Image, content: bytes, where: str) -> None:
    depth = content[_PNG_BIT_DEPTH]
    if picture.mode == "1" or (picture.mode == "L" and depth != 8):
        # Decoders spread such values over 0-255, so 3 of a 2-bit map would read as 255.
        raise DataError(f"{where}: the label is greyscale of depth {depth}; save it with 8 bits or with a palette.")
    if picture.mode not in _LABEL_MODES:
        raise DataError(
            f"{where}: the label has mode {picture.mode!r}, but one class index per pixel is needed; "
            "map its colours to indices and save it as a greyscale (L) or palette (P) PNG."
        )


def _extent(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
