"""A file that a stranger sent: what is refused before a pixel is decoded."""

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ccnet_core.errors import PictureError
from ccnet_core.preprocess import read_picture, refusing, to_tensor

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""What Pillow reads by itself; of its other formats some run programs, such as Ghostscript."""


def read_upload(path: str | Path, largest: int) -> Tensor:
    """Return the picture in a file of at most `largest` pixels, uint8 (3, H, W), turned as its EXIF data says.

    Raises PictureError, which calls the file by its name without folders.
    """
    path = Path(path)
    if not path.is_file():
        raise PictureError(f"{path.name}: no longer here. Drop it again.")
    try:
        with refusing(path), warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _check(path, largest)
        return to_tensor(read_picture(path))
    except PictureError as error:
        raise PictureError(str(error).replace(str(path), path.name)) from None


def _check(path: Path, largest: int) -> None:
    """Look at the header only."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            # A JPEG of a phone may hold a second picture, for depth or motion; its first is the photo.
            several = image.format != "MPO" and getattr(image, "is_animated", False)
    except UnidentifiedImageError:
        raise PictureError(f"{path}: not a picture. Give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"{path}: far more than {largest} pixels. Make it smaller.") from None
    if width * height > largest:
        raise PictureError(f"{path}: {width}x{height} is more than {largest} pixels. Make it smaller.")
    if several:
        raise PictureError(f"{path}: holds several pictures. Save one of them as PNG.")
