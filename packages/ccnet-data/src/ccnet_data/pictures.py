"""Where files become arrays: every picture and every label map of every layout is read here."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import DataError
from .sample import Pixels

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_EIGHT_BIT_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
_LABEL_MODES = {"L", "P"}
_PNG_BIT_DEPTH = 24
"""Offset of the bit depth in a PNG file (PNG specification, section 11.2.1: the header chunk comes first)."""


def read_picture(content: bytes, where: str) -> Pixels:
    """Decode a picture to uint8 (3, H, W), RGB, 0-255, turned upright as its EXIF data says.

    Greyscale, palette and CMYK pictures are converted; of an alpha channel only the colours beneath are kept, as OpenCV
    does. Raises DataError, beginning with `where`, for a damaged file and for more than 8 bits per channel.
    """
    picture = _decode(content, where)
    if picture.mode not in _EIGHT_BIT_MODES:
        raise DataError(f"{where}: the picture has mode {picture.mode!r}; save it with 8 bits per channel.")
    return channels_first(_upright_rgb(picture))


def read_indices(content: bytes, where: str) -> Pixels:
    """Decode a label map to uint8 (H, W), the values as they are in the file.

    It must be a PNG of one channel, greyscale with 8 bits or with a palette, whose indices are then the values. Raises
    DataError, beginning with `where`, for anything else, since converting would invent labels.
    """
    picture = _decode(content, where)
    _refuse_wrong_label_format(picture, content, where)
    return np.array(picture)


def read_file(file: Path) -> bytes:
    """Return the bytes of `file`. Raises DataError when it cannot be opened."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}); check that it exists and its permissions."
        ) from error


def require_same_size(image: Pixels, label: Pixels, where: str) -> None:
    """Raise DataError unless `image` (3, H, W) and `label` (H, W) share height and width."""
    if image.shape[1:] != label.shape:
        raise DataError(
            f"{where}: the picture is {_extent(image.shape[1:])} (width x height, upright) but its label is "
            f"{_extent(label.shape)}; make one label pixel per picture pixel, resizing with nearest neighbour."
        )


def channels_first(picture: Image.Image) -> Pixels:
    """Return an RGB picture as a fresh uint8 array (3, H, W)."""
    return np.array(np.asarray(picture).transpose(2, 0, 1), order="C")


def channels_last(image: Pixels) -> Image.Image:
    """Return uint8 (3, H, W) as an RGB picture."""
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def _decode(content: bytes, where: str) -> Image.Image:
    if not content:
        raise DataError(f"{where}: the file is empty (0 bytes); fetch or export it again.")
    try:
        picture = Image.open(BytesIO(content))
        picture.load()
    # Pillow's decoders raise many types for damaged files: OSError, SyntaxError, ValueError, struct.error, zlib.error.
    except Exception as error:
        raise DataError(f"{where}: not a readable picture ({_reason(error)}); fetch or export it again.") from error
    return picture


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no picture format begins like this"
    return str(error).rstrip(".") or type(error).__name__


def _upright_rgb(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    if "transparency" in upright.info:
        # Straight to RGB, Pillow warns about palettes with transparency.
        upright = upright.convert("RGBA")
    return upright.convert("RGB")


def _refuse_wrong_label_format(picture: Image.Image, content: bytes, where: str) -> None:
    if picture.format != "PNG":
        raise DataError(f"{where}: labels must be PNG, not {picture.format}; lossy formats change label values.")
    if picture.mode not in _LABEL_MODES:
        raise DataError(
            f"{where}: the label has mode {picture.mode!r}, but one class index per pixel is needed; "
            "map its colours to indices and save it as a greyscale (L) or palette (P) PNG."
        )
    depth = content[_PNG_BIT_DEPTH]
    if picture.mode == "L" and depth != 8:
        # Decoders spread such values over 0-255, so 3 of a 2-bit map would read as 255.
        raise DataError(f"{where}: the label is greyscale with {depth} bits; save it with 8 bits or with a palette.")


def _extent(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
