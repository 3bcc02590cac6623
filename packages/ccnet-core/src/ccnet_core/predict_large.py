"""Labels of a picture that does not fit in memory: windows are read when they are reached, labels written at once.

Shape letters: K classes, H and W size of the picture, n rows of it.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ccnet_core.checks import require
from ccnet_core.config import InferencePlan
from ccnet_core.errors import ConfigError
from ccnet_core.files import replace_file
from ccnet_core.label_file import TILE, label_type, label_writer
from ccnet_core.model import CCNet
from ccnet_core.picture_preview import Preview
from ccnet_core.picture_rows import PictureRows, open_rows
from ccnet_core.predict import evaluating, picture_size, score_strips, to_size
from ccnet_core.resize import STRIP_BYTES
from ccnet_core.score_map import Blend, Logits, Mirrored, ScoreMap, Sliding, window_offsets

FEWEST_ROWS = 8
"""Scores are computed in strips of at least so many rows: single ones cost twice the time."""


def predict_large(
    model: CCNet,
    picture: str | Path,
    out: str | Path,
    *,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    flip: bool = False,
    blend: Blend = "mean",
    overlay: str | Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Slide over the picture in a file and write its labels to another, neither of which need fit in memory.

    `picture` is a TIFF, BigTIFF or `.npy`, as :func:`ccnet_core.picture_rows.open_rows` reads it; `out` ends in `.tif`,
    `.tiff` (tiles, deflated, coloured) or `.npy` (for `np.load(out, mmap_mode="r")`). `crop` and `stride` (height,
    width) default to the model's plan. Of a model that fits pictures into a crop, windows have the size of that crop
    and a step of two thirds of it, though such a model was trained on whole pictures and not on windows. Labels are
    those of `predict(mode="slide")` with the same options, bit for bit. `flip` averages with the mirror image.
    `blend="linear"` lets a window count less towards its border, where mmsegmentation's rule, the default, lets all
    windows over a pixel count the same.

    `overlay` names a PNG of the picture under its labels, every so many pixels, 2048 of them at most along an edge.
    `progress(done, total)` is called after each window. :func:`estimate_large` says how much memory it takes.

    The files are written beside their place and renamed at the end: an error, Ctrl-C or a killed process leaves
    no half of one under its name. Raises PictureError for a picture that cannot be read, ConfigError for options that
    cannot be carried out and for more memory than the machine has, and OSError for files that cannot be written.
    """
    windows, write = _windows(model, crop, stride, flip, blend), label_writer(Path(out))
    written = [Path(file) for file in (out, overlay) if file is not None]
    for file in written:
        require(file.resolve() != Path(picture).resolve(), f"{file}: this is the picture itself")
    with contextlib.ExitStack() as stack:
        rows = stack.enter_context(open_rows(picture))
        _require_memory(_estimate(model, rows, windows))
        files = [stack.enter_context(replace_file(file)) for file in written]
        preview = Preview(rows, model.config.palette)
        with evaluating(model):
            strips = _label_strips(_views(model, preview, windows, progress))
            write(files[0], preview.watch(strips), rows.size, model.config.palette)
        if overlay is not None:
            files[1].write_bytes(preview.png())


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`size` (height, width) of a picture, its number of windows, and what :func:`ccnet_core.predict_large` holds.

    `memory` is an upper bound, in bytes, on what it holds beside what the network needs for one window.
    """

    size: tuple[int, int]
    windows: int
    memory: int


def estimate_large(
    model: CCNet,
    picture: str | Path,
    *,
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    flip: bool = False,
) -> Estimate:
    """Return what :func:`predict_large` would take with these options, and raise what it would raise at its start.

    With windows of h x w pixels, logits 1/s of that along each edge, and v = 2 views if `flip`, else 1, `memory`
    is the sum of

    - 3 h W bytes for each view, and again if `flip`: the rows of the picture under one row of windows;
    - v r c K ceil(h / s) ceil(w / s) numbers of the model's dtype: the logits of c windows side by side, in as many
      rows of windows as two neighbouring strips of n rows meet, r = ceil((h + 2 n) / stride) + 1;
    - 2 v + 1 times the 4 n W K bytes of a strip of scores;
    - 256 rows of labels;
    - a strip or tile of the picture's file, encoded and decoded;
    - 100 MB for everything else, an overlay too.

    n rows are 4 MB of scores, but 8 rows at least.
    """
    with open_rows(picture) as rows:
        return _estimate(model, rows, _windows(model, crop, stride, flip))


@dataclass(frozen=True, kw_only=True)
class _Windows:
    crop: tuple[int, int]
    stride: tuple[int, int]
    flip: bool
    blend: Blend


def _windows(
    model: CCNet,
    crop: tuple[int, int] | None,
    stride: tuple[int, int] | None,
    flip: bool,
    blend: Blend = "mean",
) -> _Windows:
    """Return the windows of the model's plan, with `crop` and `stride` instead of its own where they are given."""
    require(blend in get_args(Blend), f"blend must be 'mean' or 'linear', got {blend!r}")
    own = model.config.inference
    crop, stride = crop or own.crop, stride or own.stride
    if stride is None and crop is not None and own.mode == "fit":
        stride = max(1, crop[0] * 2 // 3), max(1, crop[1] * 2 // 3)
    if crop is None or stride is None:
        raise ConfigError("The model's plan has no windows. Give crop and stride, such as 512, 512 and 341, 341.")
    plan = InferencePlan(mode="slide", crop=crop, stride=stride, flip=flip)  # which refuses what cannot be
    return _Windows(crop=crop, stride=stride, flip=plan.flip, blend=blend)


def _estimate(model: CCNet, rows: PictureRows, windows: _Windows) -> Estimate:
    width, classes, views = rows.size[1], model.config.num_classes, 1 + windows.flip
    crop = [min(edge, extent) for edge, extent in zip(windows.crop, rows.size, strict=True)]
    reduced = model.logits_stride
    logits = classes * model.dtype.itemsize * math.prod(math.ceil(edge / reduced) for edge in crop)
    memory = (
        3 * crop[0] * width * (2 * views - 1)
        + views * _open_windows(rows.size, windows, classes) * logits
        + (2 * views + 1) * 4 * _strip_rows(rows.size, classes) * width * classes
        + TILE * width * label_type(model.config.palette).itemsize
        + rows.decoding_bytes
        + 10**8
    )
    count = math.prod(len(window_offsets(*axis)) for axis in zip(rows.size, windows.crop, windows.stride, strict=True))
    return Estimate(size=rows.size, windows=views * count, memory=memory)


def _strip_rows(size: tuple[int, int], classes: int) -> int:
    return min(size[0], max(FEWEST_ROWS, STRIP_BYTES // (4 * size[1] * classes)))


def _open_windows(size: tuple[int, int], windows: _Windows, classes: int) -> int:
    """Return the number of windows that two neighbouring strips of scores meet, at most."""
    down, across = (len(window_offsets(*axis)) for axis in zip(size, windows.crop, windows.stride, strict=True))
    met = math.ceil((min(windows.crop[0], size[0]) + 2 * _strip_rows(size, classes)) / windows.stride[0]) + 1
    return min(down, met) * across


def _require_memory(estimate: Estimate) -> None:
    """Raise ConfigError if the machine as a whole has less than is needed, where it can be asked."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if estimate.memory > there:
        needed = f"{estimate.memory / 1e9:.1f} GB beside the network, and this machine has {there / 1e9:.1f} GB"
        raise ConfigError(f"A picture of {estimate.size[1]} pixels a row needs {needed}. Give a lower crop or cut it.")


def _views(
    model: CCNet,
    rows: PictureRows,
    windows: _Windows,
    progress: Callable[[int, int], object] | None,
) -> list[ScoreMap]:
    """Return the scores of the picture, and of its mirror image if it counts too."""
    shape, total, done = (1, *rows.size, model.config.num_classes), _estimate(model, rows, windows).windows, 0

    def segment(window: Tensor) -> ScoreMap:
        nonlocal done
        logits, done = model(window, auxiliary=False).logits, done + 1
        if progress is not None:
            progress(done, total)
        return to_size(model, Logits(logits), picture_size(window))

    def slide(mirrored: bool) -> Sliding:
        read = _reader(rows, windows.crop[0], mirrored, model.device)
        return Sliding(shape, windows.crop, windows.stride, read, segment, model.device, windows.blend)

    views: list[ScoreMap] = [slide(False)]
    return [*views, Mirrored(slide(True), model.config.flip_pairs)] if windows.flip else views


def _reader(rows: PictureRows, height: int, mirrored: bool, device: torch.device) -> Callable[[int, int], Tensor]:
    """Return what reads up to `height` rows as uint8 (1, 3, n, W), into memory that the next call overwrites.

    If rows came and went between the logits of windows, the allocator would lose more than both take.
    """
    kept = np.empty((3, min(height, rows.size[0]), rows.size[1]), np.uint8)
    turned = np.empty_like(kept) if mirrored else kept

    def read(start: int, stop: int) -> Tensor:
        rows.read(start, kept[:, : stop - start])
        if mirrored:
            np.copyto(turned, kept[:, :, ::-1])
        return torch.from_numpy(turned[:, : stop - start])[None].to(device)

    return read


def _label_strips(views: list[ScoreMap]) -> Iterator[NDArray[np.integer]]:
    """Yield labels (n, W) from top to bottom."""
    dtype = np.uint8 if views[0].shape[3] <= 256 else np.int32
    for _, scores in score_strips(views, FEWEST_ROWS):
        yield scores.argmax(3)[0].cpu().numpy().astype(dtype)
