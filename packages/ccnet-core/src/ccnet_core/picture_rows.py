"""Rows of a picture file, read when they are asked for: TIFF in strips or tiles, and NumPy's .npy.

Files are read, not mapped: the pages of a map count as memory of the process, and a map that is cut short ends it.
"""

import contextlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ccnet_core.errors import PictureError
from ccnet_core.preprocess import refusing

if TYPE_CHECKING:
    from tifffile import TiffPage

LARGEST_SEGMENT = 2**28
"""Bytes of a strip or tile, which is decoded as a whole. Most files have less than 2**20."""


class PictureRows(Protocol):
    """A picture of `size` (height, width). Reading takes `decoding_bytes` of memory."""

    size: tuple[int, int]
    decoding_bytes: int

    def read(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` (3, n, W), RGB, with the rows from `start` on. Raises PictureError where the file is damaged."""
        ...


@contextmanager
def open_rows(path: str | Path) -> Iterator[PictureRows]:
    """Open a picture whose rows are read on demand: a `.npy` of uint8 (H, W, 3) RGB, else a TIFF or BigTIFF.

    Of a TIFF the first page is read, which is the largest of a pyramid: 8 bits a channel, RGB or JPEG's YCbCr, in
    strips or tiles. A fourth channel is left out, as :func:`ccnet_core.predict` does. Raises PictureError that names
    the file for anything else, for a file that ends too early, and where tifffile and imagecodecs are not installed.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        rows: PictureRows
        if path.suffix.lower() == ".npy":
            with refusing(path):
                rows = _array_rows(path, stack.enter_context(path.open("rb")))
        else:
            tifffile = import_tifffile()
            with refusing(path):
                rows = _tiff_rows(path, stack.enter_context(tifffile.TiffFile(path)))
        yield rows


def import_tifffile() -> ModuleType:
    """Return tifffile, or raise PictureError that says how to install it."""
    try:
        import imagecodecs  # noqa: F401 - the decoders of LZW and JPEG, which tifffile finds by itself
        import tifffile
    except ModuleNotFoundError as error:
        extra = 'python -m pip install "ccnet-core[large]"'
        raise PictureError(f"TIFF needs {error.name}, which is not installed: {extra}. A .npy needs nothing.") from None
    return tifffile


def _array_rows(path: Path, file: Any) -> "StoredRows":
    major, _ = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = header(file)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or by_columns:
        order = ", its columns first" if by_columns else ""
        raise PictureError(f"{path}: must hold uint8 (H, W, 3) RGB, row by row, got {dtype} {shape}{order}.")
    return StoredRows(path, file, file.tell(), (shape[0], shape[1]), 3)


def _tiff_rows(path: Path, tiff: Any) -> PictureRows:
    page = tiff.pages.first
    for fault, is_so in _faults(page).items():
        if is_so:
            raise PictureError(
                f"{path}: {fault}. Save it as RGB with 8 bits a channel, for example with GDAL or libvips."
            )
    if page.is_contiguous:
        size, channels = (page.imagelength, page.imagewidth), page.samplesperpixel
        return StoredRows(path, tiff.filehandle, page.dataoffsets[0], size, channels)
    return SegmentRows(path, page)


def _faults(page: "TiffPage") -> dict[str, bool]:
    """Return what would be wrong with a page, and whether it is."""
    # 2 is RGB, 6 is YCbCr, which JPEG's decoder turns into RGB.
    colours = (2, 6) if page.compression in (6, 7) else (2,)
    return {
        f"has {page.bitspersample} bits a channel": page.bitspersample != 8 or page.dtype != np.uint8,
        f"has {page.samplesperpixel} channels": page.samplesperpixel not in (3, 4),
        f"has colours other than RGB (photometric {page.photometric:d})": page.photometric not in colours,
        "stores each channel on its own (planar)": page.planarconfig != 1,
        "has colours multiplied by their alpha": 1 in page.extrasamples,
        "is stored turned or mirrored": page.tags.valueof(274, 1) != 1,
        "has a third dimension": page.imagedepth != 1,
    }


class StoredRows:
    """Rows that lie in a file one after the other, uncompressed, `channels` bytes a pixel."""

    def __init__(self, path: Path, file: Any, offset: int, size: tuple[int, int], channels: int) -> None:
        self.size, self.decoding_bytes = size, size[1] * channels
        self._path, self._file, self._offset, self._channels = path, file, offset, channels
        _require_pixels(path, size)
        _require_length(path, offset + size[0] * size[1] * channels)

    def read(self, start: int, out: NDArray[np.uint8]) -> None:
        """See :class:`PictureRows`."""
        width = self.size[1]
        with refusing(self._path):
            self._file.seek(self._offset + start * width * self._channels)
            for row in range(out.shape[1]):
                line = np.frombuffer(self._file.read(width * self._channels), np.uint8)
                out[:, row] = line.reshape(width, self._channels)[:, :3].T


class SegmentRows:
    """Rows of a TIFF's page in strips or tiles, each of which is decoded when a row of it is asked for."""

    def __init__(self, path: Path, page: "TiffPage") -> None:
        self.size = page.imagelength, page.imagewidth
        self._path, self._page = path, page
        self._segment = min(page.chunks[0], self.size[0]), page.chunks[1]
        self._across = math.ceil(self.size[1] / self._segment[1])
        self.decoding_bytes = 2 * math.prod(self._segment) * page.samplesperpixel  # encoded and decoded
        _require_pixels(path, self.size)
        if self.decoding_bytes > 2 * LARGEST_SEGMENT:
            raise PictureError(f"{path}: its strips of {self._segment[0]} rows are too large. Store it in tiles.")
        count = self._across * math.ceil(self.size[0] / self._segment[0])
        offsets, lengths = (np.array(numbers[:count]) for numbers in (page.dataoffsets, page.databytecounts))
        _require_length(path, int((offsets + lengths).max()))
        self._decode(count - 1)  # a codec that is missing shows now

    def read(self, start: int, out: NDArray[np.uint8]) -> None:
        """See :class:`PictureRows`."""
        (height, width), stop = self._segment, start + out.shape[1]
        for index in range(start // height * self._across, ((stop - 1) // height + 1) * self._across):
            with refusing(self._path):
                pixels = self._decode(index)
            top, left = index // self._across * height, index % self._across * width
            first, last = max(start, top), min(stop, top + height)
            pixels = pixels[first - top : last - top, : self.size[1] - left, :3]
            out[:, first - start : last - start, left : left + width] = pixels.transpose(2, 0, 1)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """Return a strip or tile, (h, w, channels); one that was never written is black."""
        page, length = self._page, self._page.databytecounts[index]
        if length == 0:
            return np.zeros((*self._segment, 3), np.uint8)
        file = page.parent.filehandle
        file.seek(page.dataoffsets[index])
        encoded = file.read(length)  # before `decode` is asked for, which may move the file's position
        decoded, _, _ = page.decode(encoded, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        pixels: NDArray[np.uint8] = np.asarray(decoded, np.uint8)[0]
        return pixels


def _require_pixels(path: Path, size: tuple[int, int]) -> None:
    if 0 in size:
        raise PictureError(f"{path}: the picture is empty, {size[0]} rows of {size[1]} pixels.")


def _require_length(path: Path, length: int) -> None:
    if path.stat().st_size < length:
        raise PictureError(f"{path}: ends too early, at byte {path.stat().st_size} of {length}. Fetch it again.")
