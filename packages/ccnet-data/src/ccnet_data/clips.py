"""Clips of a video: several frames that follow one another, with the label of the last one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .sample import API_VERSION, Colour, Sample, SegmentationDataset, position

LONGEST_STEP = 31
"""Frames from one file to the next within a clip; more is a gap. CamVid labels 1 or 15 of its 30 frames per second."""
STEP_TOLERANCE = 0.1
"""Share by which steps within a clip may differ. CamVid's 0016E5_00901 comes 31 frames after 00870, 29 before 00930."""


class Frame(NamedTuple):
    """Where a picture comes from: the name of a video, and the number of the frame in it."""

    sequence: str
    number: int


def frame_of(name: str) -> Frame:
    """Read "0016E5_07959", "Seq05VD_f00030.png" and the like. Raises DataError for another form."""
    parts = re.fullmatch(r"(.+)_f?(\d+)", PurePath(name).stem)
    if parts is None:
        raise DataError(f"{name}: the name of a frame must be SEQUENCE_NUMBER, such as 0016E5_07959; rename the file.")
    return Frame(parts[1], int(parts[2]))


def find_clips(names: Iterable[str], length: int) -> NDArray[np.int64]:
    """Return the positions in `names`, int64 (clips, length), of every `length` frames that follow one another.

    Clips overlap: one ends at each frame that has enough before it. All its frames are of one sequence, without another
    between them, and their numbers grow by one step, give or take STEP_TOLERANCE, of at most LONGEST_STEP. So none
    crosses a cut.
    """
    frames = [frame_of(name) for name in names]
    order = sorted(range(len(frames)), key=frames.__getitem__)
    windows = (order[end - length : end] for end in range(length, len(order) + 1))
    clips = [window for window in windows if _follow([frames[place] for place in window])]
    return np.array(clips, np.int64).reshape(-1, length)


def _follow(frames: list[Frame]) -> bool:
    steps = [after.number - before.number for before, after in pairwise(frames)]
    shortest, longest = min(steps), max(steps)
    is_one_step = longest - shortest <= STEP_TOLERANCE * shortest
    return len({frame.sequence for frame in frames}) == 1 and 1 <= shortest <= longest <= LONGEST_STEP and is_one_step


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """The clips of the video frames in `dataset`, whose positions `find_clips` returns.

    A sample has `image` uint8 (T, 3, H, W), and `label` and `id` of its last frame. Reading raises DataError when the
    frames differ in size.
    """

    dataset: SegmentationDataset
    positions: NDArray[np.int64]

    api_version = API_VERSION
    task = "video"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the frames."""
        return self.dataset.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """One RGB colour per class, 0-255."""
        return self.dataset.palette

    @property
    def ignore_index(self) -> int:
        """The label value without a class."""
        return self.dataset.ignore_index

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of classes that a mirror image swaps."""
        return self.dataset.flip_pairs

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        frames = [self.dataset[int(place)] for place in self.positions[position(index, len(self))]]
        last = frames[-1]
        for frame in frames:
            if frame["image"].shape != last["image"].shape:
                sizes = " and ".join(f"{each['image'].shape[2]}x{each['image'].shape[1]}" for each in (frame, last))
                raise DataError(
                    f"Frames {frame['id']!r} and {last['id']!r} of one clip have the sizes {sizes}; "
                    "resize them to the same one."
                )
        return {"image": np.stack([frame["image"] for frame in frames]), "label": last["label"], "id": last["id"]}
