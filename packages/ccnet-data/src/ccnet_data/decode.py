"""Bytes to one decoded picture, or one error: which formats are read, how large, and how many frames."""

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from PIL import ExifTags, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from .errors import DataError

LARGEST = 2**28
"""Pixels of a picture, such as 16384x16384. Reading one takes 7 to 11 bytes per pixel for a moment."""

# Pillow's `open` would also hand PostScript to an interpreter, and warn of pictures that are merely large.
_FORMATS: dict[bytes, Callable[[BytesIO], ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": jpeg_factory,
    b"BM": BmpImageFile,
    b"GIF8": GifImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"RIFF": WebPImageFile,
}


class Decoded(NamedTuple):
    """A loaded picture as it lies in the file, and the EXIF orientation (1 to 8) that it is to be shown in."""

    picture: ImageFile.ImageFile
    orientation: int


def decode(content: bytes, where: str) -> Decoded:
    """Decode the one picture in `content`. Raises DataError, beginning with `where`, and lets no warning through.

    ICC profiles are passed over, as OpenCV does. Of the several pictures in a camera's JPEG (MPO) the first is meant.
    """
    if not content:
        raise DataError(f"{where}: the file is empty (0 bytes); fetch or export it again.")
    try:
        # Pillow warns of metadata that it cannot read.
        with warnings.catch_warnings(action="ignore"):
            return _load(content, where)
    except DataError:
        raise
    # Pillow's decoders raise many types for damaged files: OSError, SyntaxError, ValueError, struct.error, zlib.error.
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise DataError(f"{where}: not a readable picture ({reason}); fetch or export it again.") from error


def _load(content: bytes, where: str) -> Decoded:
    picture = _reader(content)(BytesIO(content))
    if picture.width * picture.height > LARGEST:
        size = f"{picture.width}x{picture.height}"
        raise DataError(f"{where}: says it is {size} pixels, more than {LARGEST} in all; cut it into tiles.")
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        raise DataError(f"{where}: holds several pictures (frames or pages); save the wanted one as a file of its own.")
    picture.load()
    # Loading turns some formats itself, and finds metadata that come after the pixels.
    return Decoded(picture, picture.getexif().get(ExifTags.Base.Orientation, 1))


def _reader(content: bytes) -> Callable[[BytesIO], ImageFile.ImageFile]:
    reader = next((reader for start, reader in _FORMATS.items() if content.startswith(start)), None)
    if reader is None:
        raise SyntaxError("no picture format begins like this")
    return reader
