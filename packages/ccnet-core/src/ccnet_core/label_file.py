"""Labels written from top to bottom, so that they need not fit in memory: to a tiled TIFF, or to NumPy's .npy."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ccnet_core.config import Colour
from ccnet_core.errors import ConfigError
from ccnet_core.picture_rows import import_tifffile

TILE = 256

Labels = NDArray[np.integer]
Writer = Callable[[Path, Iterator[Labels], tuple[int, int], Sequence[Colour]], None]


def label_writer(out: Path) -> Writer:
    """Return what writes labels in the format of the name `out`: `.tif`, `.tiff` or `.npy`.

    It takes a file, strips of rows (n, W) from top to bottom, the (height, width) of all and the colours of the
    classes. Labels are uint8, or int32 for more than 256 classes. Raises ConfigError for another name.
    """
    writers: dict[str, Writer] = {".tif": _write_tiff, ".tiff": _write_tiff, ".npy": _write_array}
    if out.suffix.lower() not in writers:
        raise ConfigError(f"{out}: labels are written as .tif, .tiff or .npy. Give such a name.")
    if writers[out.suffix.lower()] is _write_tiff:
        import_tifffile()  # what is missing shows before the work
    return writers[out.suffix.lower()]


def label_type(palette: Sequence[Colour]) -> np.dtype[Any]:
    """Return the dtype of labels of so many classes."""
    return np.dtype(np.uint8 if len(palette) <= 256 else np.int32)


def _write_array(file: Path, strips: Iterator[Labels], size: tuple[int, int], palette: Sequence[Colour]) -> None:
    """Write what `np.load(file, mmap_mode="r")` opens."""
    described = np.lib.format.dtype_to_descr(label_type(palette))
    with file.open("wb") as stream:
        header = {"descr": described, "fortran_order": False, "shape": size}
        np.lib.format.write_array_header_2_0(stream, header)
        for strip in strips:
            stream.write(strip.tobytes())


def _write_tiff(file: Path, strips: Iterator[Labels], size: tuple[int, int], palette: Sequence[Colour]) -> None:
    """Write tiles of 256 x 256 pixels, deflated, with the colours of up to 256 classes for viewers."""
    dtype, colours = label_type(palette), {}
    if dtype == np.uint8:
        colormap = np.zeros((3, 256), np.uint16)
        colormap[:, : len(palette)] = np.array(palette, np.uint16).T * 257
        colours = {"photometric": "palette", "colormap": colormap}
    import_tifffile().imwrite(
        file,
        _tiles(strips, size[1]),
        shape=size,
        dtype=dtype,
        tile=(TILE, TILE),
        compression="zlib",
        bigtiff=size[0] * size[1] * dtype.itemsize > 2**31,
        metadata=None,
        maxworkers=1,  # more would hold tiles that wait
        **(colours or {"photometric": "minisblack"}),
    )


def _tiles(strips: Iterator[Labels], width: int) -> Iterator[Labels]:
    """Cut `strips` into tiles, from left to right and from top to bottom; the last ones may be smaller."""
    for band in _bands(strips, width):
        for left in range(0, width, TILE):
            yield band[:, left : left + TILE]


def _bands(strips: Iterator[Labels], width: int) -> Iterator[Labels]:
    """Gather `strips` of any heights to bands of `TILE` rows, each in the memory of the one before.

    If small strips outlived the scores that they are made of, the allocator could not use the gaps between them.
    """
    band, filled = None, 0
    for strip in strips:
        if band is None:
            band = np.empty((TILE, width), strip.dtype)
        start = 0
        while start < len(strip):
            taken = strip[start : start + TILE - filled]
            band[filled : filled + len(taken)] = taken
            start, filled = start + len(taken), filled + len(taken)
            if filled == TILE:
                yield band
                filled = 0
    if band is not None and filled:
        yield band[:filled]
