"""The dataset "beacon": generated pictures in which only far-away context tells the class of a square.

Every picture shows one beacon in one of three colours and five dark squares that all look alike. The class of each
square is the colour of the beacon, which lies anywhere in the picture. A network that sees a square and its
surroundings alone can only guess; one that joins the whole picture can be right.

As clips, with `frames` above 1, the squares stay where they are. The beacon is a strip from the upper to the lower
edge, and goes out before the last frame: it is lit in the first frame, or in the first few. In the labelled frame
nothing tells the class, and a network that sees this frame alone can only guess. A square and the strip are two steps
of criss-cross attention apart, one along time and one along a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, nearest
from .options import Fault, Option, whole_number
from .sample import API_VERSION, IGNORE_INDEX, Colour, Pixels, Sample, position
from .source import Source, faults_of

SPLITS = ("train", "val")
BACKGROUND_GREY, BACKGROUND_NOISE = 110, 12
BEACON_SIDE, STRIP_WIDTH = 14, 8
"""Pixels: the beacon of a picture is a square, that of a clip a strip as high as the frame."""
BEACON_COLOURS: tuple[Colour, ...] = ((220, 60, 60), (60, 200, 60), (70, 90, 230))
COLOUR_NAMES = ("red", "green", "blue")
CLIP_COLOURS = 2
"""So many of the colours a strip may have: of three, two stay one class for long."""
SQUARE_SIDE, SQUARE_COUNT = 8, 5
SQUARE_GREY, SQUARE_NOISE = 30, 10
GAP = 6
"""Least distance, in pixels, from a square to the beacon or another square."""
SMALLEST, LARGEST = 48, 4096
"""Sides of the picture, in pixels. At 48 the squares find a place in 83 of 100 attempts, at 44 in 42; at 48 beside a
strip in 65."""
ATTEMPTS = 100


class Box(NamedTuple):
    """Part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True, kw_only=True)
class Beacon(Source):
    """Generated pictures of coloured beacons and dark squares; needs no files."""

    length: Annotated[int, Option(whole_number(1, 2**31 - 1), "samples in the split")] = 2000
    size: Annotated[int, Option(whole_number(SMALLEST, LARGEST), "height and width in pixels")] = 64
    seed: Annotated[int, Option(whole_number(0, 2**32 - 1), "another seed gives other pictures")] = 0
    frames: Annotated[
        int, Option(whole_number(1, 100), "frames of a clip, the beacon in the first ones; 1 gives single pictures")
    ] = 1

    def splits(self) -> tuple[str, ...]:
        """Return "train" and "val"."""
        return tuple(SPLITS)

    def faults(self, split: str | None) -> list[Fault]:
        """Return the fault of an unknown split; everything else is right once the options are."""
        return [] if split is None else faults_of(split=lambda: split_number("beacon", split))

    def open(self, split: str) -> "BeaconDataset":
        """Return the split "train" or "val"; the two never share a picture."""
        split_number("beacon", split)
        return BeaconDataset(split=split, length=self.length, size=self.size, seed=self.seed, frames=self.frames)


@dataclass(frozen=True, kw_only=True)
class BeaconDataset:
    """A split of "beacon": each sample is a function of (seed, split, index) alone.

    Samples have `image` uint8 (3, size, size), of a clip (frames, 3, size, size), and `label` uint8 (size, size): 0 for
    background and beacon, 1 to 3 for the squares of a red, green or blue beacon, which is never blue in clips. No pixel
    is ignored.
    """

    split: str
    length: int
    size: int
    seed: int
    frames: int = 1

    api_version = API_VERSION
    ignore_index = IGNORE_INDEX
    flip_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()

    @property
    def task(self) -> str:
        """Tell pictures from clips."""
        return "segmentation" if self.frames == 1 else "video"

    @property
    def classes(self) -> tuple[str, ...]:
        """The background, and the squares by the colour of their beacon."""
        return ("background", *(f"square of {name}" for name in COLOUR_NAMES[: self.colours]))

    @property
    def palette(self) -> tuple[Colour, ...]:
        """Grey, and the colours of the beacons."""
        return ((90, 90, 90), *BEACON_COLOURS[: self.colours])

    @property
    def colours(self) -> int:
        """The number of colours that a beacon may have."""
        return len(BEACON_COLOURS) if self.frames == 1 else CLIP_COLOURS

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, self.length)
        rng = np.random.default_rng((self.seed, split_number("beacon", self.split), number))
        image, label = draw_scene(self.size, rng) if self.frames == 1 else draw_clip(self.size, self.frames, rng)
        return {"image": image, "label": label, "id": f"{self.split}-{self.seed}-{number:06d}"}


def draw_scene(size: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Draw one picture, uint8 (3, size, size), and its labels, uint8 (size, size)."""
    colour = int(rng.integers(len(BEACON_COLOURS)))
    beacon, squares = place(size, rng)
    return _draw_frame(size, squares, beacon, colour, rng), _draw_label(size, squares, colour)


def draw_clip(size: int, frames: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Draw a clip, uint8 (frames, 3, size, size), and the labels of its last frame, uint8 (size, size).

    The beacon is lit in the first frames, in one to all but the last.
    """
    colour, lit = int(rng.integers(CLIP_COLOURS)), int(rng.integers(1, frames))
    strip, squares = place(size, rng, strip=True)
    drawn = [_draw_frame(size, squares, strip if time < lit else None, colour, rng) for time in range(frames)]
    return np.stack(drawn), _draw_label(size, squares, colour)


def _draw_frame(size: int, squares: Sequence[Box], beacon: Box | None, colour: int, rng: np.random.Generator) -> Pixels:
    scene = BACKGROUND_GREY + rng.normal(0, BACKGROUND_NOISE, (size, size, 3))
    if beacon is not None:
        scene[beacon.area] = BEACON_COLOURS[colour]
    for square in squares:
        scene[square.area] = SQUARE_GREY + rng.normal(0, SQUARE_NOISE, (SQUARE_SIDE, SQUARE_SIDE, 3))
    return np.ascontiguousarray(scene.clip(0, 255).astype(np.uint8).transpose(2, 0, 1))


def _draw_label(size: int, squares: Sequence[Box], colour: int) -> Pixels:
    label = np.zeros((size, size), np.uint8)
    for square in squares:
        label[square.area] = 1 + colour
    return label


def place(size: int, rng: np.random.Generator, *, strip: bool = False) -> tuple[Box, list[Box]]:
    """Return where the beacon lies, or with `strip` the strip, and the squares, each `GAP` pixels from the others.

    Starts over when a square finds no place. Raises DataError after 100 attempts: the picture is too small.
    """
    for _ in range(ATTEMPTS):
        beacon = _place_strip(size, rng) if strip else _place_beacon(size, rng)
        squares = _place_squares(size, beacon, rng)
        if len(squares) == SQUARE_COUNT:
            return beacon, squares
    raise DataError(
        f"size {size} leaves no room for a beacon and {SQUARE_COUNT} squares {GAP} pixels apart; "
        f"give size={SMALLEST} or more."
    )


def _place_beacon(size: int, rng: np.random.Generator) -> Box:
    top, left = (int(start) for start in rng.integers(0, max(1, size - BEACON_SIDE + 1), 2))
    return Box(top, left, BEACON_SIDE, BEACON_SIDE)


def _place_strip(size: int, rng: np.random.Generator) -> Box:
    return Box(0, int(rng.integers(max(1, size - STRIP_WIDTH + 1))), size, STRIP_WIDTH)


def _place_squares(size: int, beacon: Box, rng: np.random.Generator) -> list[Box]:
    starts = max(0, size - SQUARE_SIDE + 1)
    free = np.ones((starts, starts), bool)
    _block(free, beacon)
    squares: list[Box] = []
    while len(squares) < SQUARE_COUNT and free.any():
        places = np.flatnonzero(free)
        top, left = divmod(int(places[rng.integers(len(places))]), starts)
        squares.append(Box(top, left, SQUARE_SIDE, SQUARE_SIDE))
        _block(free, squares[-1])
    return squares


def _block(free: NDArray[np.bool_], box: Box) -> None:
    """Clear the corners from which a new square would come nearer than `GAP` to `box`."""
    reach = SQUARE_SIDE + GAP - 1
    rows = slice(max(0, box.top - reach), box.top + box.height + GAP)
    columns = slice(max(0, box.left - reach), box.left + box.width + GAP)
    free[rows, columns] = False


def split_number(dataset: str, split: str) -> int:
    """Return the position of `split` in `SPLITS`. Raises DataError, which names the generated `dataset`."""
    if split not in SPLITS:
        raise DataError(f"Dataset {dataset!r} has no split {split!r}.{nearest(str(split), SPLITS)}")
    return SPLITS.index(split)
