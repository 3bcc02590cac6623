"""The source "figures" and its splits."""

from dataclasses import dataclass
from typing import Annotated, SupportsIndex

import numpy as np

from ..layouts.lip import Lip
from ..options import Fault, Option, switch, whole_number
from ..sample import Labelled, Sample, position
from ..source import Source, faults_of
from ..synthetic import SPLITS, split_number
from .scene import draw_scene

SMALLEST, LARGEST = 32, 4096


@dataclass(frozen=True, kw_only=True)
class Figures(Source):
    """Generated pictures of drawn people in the 20 parts of LIP; needs no files."""

    length: Annotated[int, Option(whole_number(1, 2**31 - 1), "samples in the split")] = 2000
    size: Annotated[int, Option(whole_number(SMALLEST, LARGEST), "longest side of a picture in pixels")] = 160
    seed: Annotated[int, Option(whole_number(0, 2**32 - 1), "another seed gives other pictures")] = 0
    shared: Annotated[bool, Option(switch, "whether val shows the pictures of train, to be learnt by heart")] = False

    def splits(self) -> tuple[str, ...]:
        """Return "train" and "val"."""
        return SPLITS

    def faults(self, split: str | None) -> list[Fault]:
        """Return the fault of an unknown split; everything else is right once the options are."""
        return [] if split is None else faults_of(split=lambda: split_number("figures", split))

    def open(self, split: str) -> "FiguresDataset":
        """Return the split "train" or "val"; unless `shared`, no picture is in both."""
        split_number("figures", split)
        facts = Lip.description
        return FiguresDataset(
            classes=facts.classes,
            palette=facts.palette,
            flip_pairs=facts.flip_pairs,
            split=SPLITS[0] if self.shared else split,
            length=self.length,
            size=self.size,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FiguresDataset(Labelled):
    """A split of "figures": each sample is a function of (seed, split, index) alone.

    Samples have `image` uint8 (3, H, W) and `label` uint8 (H, W), 0 to 19 as in LIP. H and W differ from sample to
    sample and are `size` at most. A picture shows one person, sometimes only down to the knees or hips. No pixel is
    ignored.
    """

    split: str
    length: int
    size: int
    seed: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, self.length)
        image, label = draw_scene(
            self.size, np.random.default_rng((self.seed, split_number("figures", self.split), number))
        )
        return {"image": image, "label": label, "id": f"{self.split}-{self.seed}-{number:06d}"}
