"""The further labels of "voc12aug", made of the Semantic Boundaries Dataset (SBD).

SBD has a label for each of 11355 pictures of VOC 2011, in dataset/cls/NAME.mat of its archive benchmark.tgz. Those that
are neither in train.txt nor in val.txt of VOC 2012, 9118 of them, become SegmentationClassAug/NAME.png and aug.txt.
"""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import DataError, enumerate_some
from .files import write_bytes
from .layouts.tree import descend, listed_names, require_folder
from .layouts.voc import AUG, PICTURES, SBD_LABELS, TRAIN, VAL, Voc12Aug
from .pictures import read_file
from .sample import Pixels

EXPECTED = "sbd must hold cls/*.mat, img/*.jpg, train.txt and val.txt (there or in benchmark_RELEASE/dataset/)"

_HEADER, _COMPRESSED = 128, 15
"""Bytes before the first element of a .mat file, and the type of an element that is a zlib stream with its checksum
(MAT-File Format, level 5)."""


def prepare_voc12aug(root: Path, sbd: Path) -> Path:
    """Write label PNGs and pictures that VOC at `root` lacks, out of SBD at `sbd`, and last the list; return its place.

    Files that are there stay, so that a run goes on where an earlier one was stopped. Raises DataError with the damaged
    files of SBD after all others are written; the list is not written then.
    """
    from tqdm import tqdm

    _require_scipy()
    source = Voc12Aug(root=root)
    voc = source.given_root()
    sbd = descend(require_folder(sbd, EXPECTED), "benchmark_RELEASE/dataset")
    known = {*source.names(voc, TRAIN), *source.names(voc, VAL)}
    names = sorted({name for part in ("train.txt", "val.txt") for name in listed_names(sbd / part, EXPECTED)} - known)
    faults = []
    for name in tqdm(names, desc="SBD", unit=" labels", disable=None):
        try:
            _add(name, voc, sbd)
        except DataError as fault:
            faults.append(str(fault))
    if faults:
        raise DataError(f"{len(faults)} of {len(names)} labels are missing. {enumerate_some(faults, 3, ' ')}")
    write_bytes(voc / AUG, "".join(f"{name}\n" for name in names).encode())
    return voc / AUG


def read_segmentation(content: bytes, where: str) -> Pixels:
    """Return the classes in a .mat file of SBD, GTcls.Segmentation, as uint8 (H, W), 0 to 20.

    Raises DataError, beginning with `where`.
    """
    from scipy.io import loadmat

    try:
        _check_stream(content)
        stream: Any = BytesIO(content)  # scipy's stubs know file names only
        label = loadmat(stream, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    # scipy raises many types for other files: ValueError, TypeError, KeyError, MatReadError.
    except Exception as error:
        raise DataError(
            f"{where}: not a label file of SBD ({str(error) or type(error).__name__}); fetch it again."
        ) from error
    classes = len(Voc12Aug.description.classes)
    if label.dtype != np.uint8 or label.ndim != 2 or label.size == 0 or label.max() >= classes:
        raise DataError(f"{where}: GTcls.Segmentation is not (H, W) of 0 to {classes - 1}; fetch it again.")
    return np.ascontiguousarray(label)


def _check_stream(content: bytes) -> None:
    """Raise an error for a file cut short or changed: scipy 1.17 reads on in such a one until the process crashes."""
    kind, size = struct.unpack_from("<II", content, _HEADER)
    if kind == _COMPRESSED:
        zlib.decompress(content[_HEADER + 8 : _HEADER + 8 + size])


def _require_scipy() -> None:
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise DataError('The .mat files of SBD are read by scipy: python -m pip install "ccnet-data[voc]"') from error


def _add(name: str, voc: Path, sbd: Path) -> None:
    label, picture = voc / SBD_LABELS / f"{name}.png", voc / PICTURES / f"{name}.jpg"
    if not label.exists():
        mat = sbd / "cls" / f"{name}.mat"
        write_bytes(label, _png(read_segmentation(read_file(mat), str(mat))))
    if not picture.exists():
        write_bytes(picture, read_file(sbd / "img" / picture.name))


def _png(label: Pixels) -> bytes:
    picture, stream = Image.fromarray(label), BytesIO()
    picture.putpalette(bytes(channel for colour in Voc12Aug.description.palette for channel in colour))
    picture.save(stream, format="PNG")
    return stream.getvalue()
