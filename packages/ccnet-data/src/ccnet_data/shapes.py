"""The dataset "shapes": generated pictures of coloured shapes, with a box, a mask and a class for each.

The form tells the class and the colour does not. Shapes lie over one another; a mask holds what is seen of its shape.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

from .options import Fault, Option, whole_number
from .sample import API_VERSION, IGNORE_INDEX, Colour, Instances, Pixels, SegmentationDataset, position
from .source import Source, faults_of
from .synthetic import SPLITS, split_number

Masks = NDArray[np.bool_]
Plane = NDArray[np.float64]

SMALLEST, LARGEST = 48, 4096
"""Sides of the picture, in pixels."""
RADII = (0.1, 0.24)
"""Of the circle around a shape, in sides of the picture."""
LEAST_SEEN = 0.4
"""Of a shape's area: what would hide more of an earlier shape, or lie further outside, is drawn again."""
ATTEMPTS = 10
"""For each shape; a picture that has no room for more stays with fewer."""
GROUNDS: tuple[Colour, ...] = ((246, 240, 228), (226, 234, 240), (52, 58, 74), (38, 52, 52))
COLOURS: tuple[Colour, ...] = (
    (226, 87, 76), (240, 163, 58), (242, 205, 92), (88, 172, 112), (64, 156, 178), (84, 112, 198), (150, 100, 176),
)  # fmt: skip
SHADE, NOISE = 0.25, 4
"""How much darker a shape is at its outline, and the deviation of grey levels from pixel to pixel."""


class Form(NamedTuple):
    """A class: `corners` at distance 1 from the middle, and between two of them the outline at distance `inner`."""

    name: str
    corners: int
    inner: float
    colour: Colour


FORMS = (
    Form("circle", 60, math.cos(math.pi / 60), (230, 75, 75)),
    Form("square", 4, math.cos(math.pi / 4), (60, 150, 235)),
    Form("triangle", 3, math.cos(math.pi / 3), (70, 190, 90)),
    Form("star", 5, 0.45, (245, 180, 40)),
)


@dataclass(frozen=True, kw_only=True)
class Shapes(Source):
    """Generated pictures of coloured circles, squares, triangles and stars (task "instances"); needs no files."""

    length: Annotated[int, Option(whole_number(1, 2**31 - 1), "samples in the split")] = 2000
    size: Annotated[int, Option(whole_number(SMALLEST, LARGEST), "height and width in pixels")] = 128
    seed: Annotated[int, Option(whole_number(0, 2**32 - 1), "another seed gives other pictures")] = 0
    objects: Annotated[
        int, Option(whole_number(0, 100), "most objects of a picture; each number from 0 on is drawn as often")
    ] = 5

    def splits(self) -> tuple[str, ...]:
        """Return "train" and "val"."""
        return SPLITS

    def faults(self, split: str | None) -> list[Fault]:
        """Return the fault of an unknown split; everything else is right once the options are."""
        return [] if split is None else faults_of(split=lambda: split_number("shapes", split))

    def open(self, split: str) -> SegmentationDataset:
        """Return the split "train" or "val", whose samples are `Instances`; the two never share a picture."""
        split_number("shapes", split)
        options = {"length": self.length, "size": self.size, "seed": self.seed, "objects": self.objects}
        return cast(SegmentationDataset, ShapesDataset(split=split, **options))


@dataclass(frozen=True, kw_only=True)
class ShapesDataset:
    """A split of "shapes": each sample is a function of (seed, split, index, size, objects) alone.

    `image` is uint8 (3, size, size). Objects come in the order in which they were drawn, the hindmost first. Masks do
    not overlap, boxes are those of the masks, and none is a crowd.
    """

    split: str
    length: int
    size: int
    seed: int
    objects: int

    api_version = API_VERSION
    task = "instances"
    ignore_index = IGNORE_INDEX
    classes: ClassVar[tuple[str, ...]] = tuple(form.name for form in FORMS)
    palette: ClassVar[tuple[Colour, ...]] = tuple(form.colour for form in FORMS)
    flip_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: SupportsIndex) -> Instances:
        number = position(index, self.length)
        rng = np.random.default_rng((self.seed, split_number("shapes", self.split), number))
        image, masks, classes = draw_scene(self.size, self.objects, rng)
        return {
            "image": image,
            "boxes": mask_boxes(masks),
            "masks": masks,
            "classes": classes,
            "crowd": np.zeros(len(masks), bool),
            "id": f"{self.split}-{self.seed}-{number:06d}",
        }


def draw_scene(size: int, objects: int, rng: np.random.Generator) -> tuple[Pixels, Masks, NDArray[np.int64]]:
    """Draw a picture, uint8 (3, size, size), of up to `objects` shapes: masks, bool (N, size, size), and classes."""
    scene = _ground(size, rng)
    masks = np.zeros((0, size, size), bool)
    classes: list[int] = []
    whole: list[float] = []
    wanted = int(rng.integers(objects + 1))
    for _ in range(ATTEMPTS * wanted):
        if len(classes) == wanted:
            break
        number, colour = int(rng.integers(len(FORMS))), COLOURS[rng.integers(len(COLOURS))]
        radius, turn = rng.uniform(*RADII) * size, rng.uniform(0, 2 * math.pi)
        depth = outline_depth(FORMS[number], size, rng.uniform(0, size, 2), radius, turn)
        inside = depth > 0
        seen = np.concatenate([masks & ~inside, inside[None]])
        areas = [*whole, whole_area(FORMS[number], radius)]
        if (seen.sum((1, 2)) >= LEAST_SEEN * np.array(areas)).all():
            _paint(scene, depth, radius, colour)
            masks, whole = seen, areas
            classes.append(number)
    image = (scene + rng.normal(0, NOISE, scene.shape)).clip(0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(image.transpose(2, 0, 1)), masks, np.array(classes, np.int64)


def outline_depth(form: Form, size: int, middle: NDArray[np.float64], radius: float, turn: float) -> Plane:
    """Return how far inside the outline the centre of each pixel lies, in pixels towards it; below 0 outside.

    `middle` is (x, y), where pixel (0, 0) reaches from 0 to 1. The outline is straight between corners: in polar
    coordinates, at the angle a from a corner, its distance is inner * sin(w) / (sin(a) + inner * sin(w - a)), w being
    half the angle between two corners.
    """
    y, x = np.indices((size, size)) + 0.5 - middle[::-1, None, None]
    wedge = math.pi / form.corners
    away = np.abs((np.arctan2(y, x) - turn + wedge) % (2 * wedge) - wedge)
    outline = form.inner * math.sin(wedge) / (np.sin(away) + form.inner * np.sin(wedge - away))
    depth: Plane = radius * outline - np.hypot(x, y)
    return depth


def whole_area(form: Form, radius: float) -> float:
    """Return the area of a shape in pixels: twice as many triangles as corners."""
    return form.corners * form.inner * math.sin(math.pi / form.corners) * radius**2


def mask_boxes(masks: Masks) -> NDArray[np.float32]:
    """Return the boxes around `masks`, bool (N, H, W), none of them empty: float32 (N, 4), left, top, right, bottom."""
    columns: Masks = np.logical_or.reduce(masks, axis=1)
    rows: Masks = np.logical_or.reduce(masks, axis=2)
    firsts = columns.argmax(1), rows.argmax(1)
    ends = masks.shape[2] - columns[:, ::-1].argmax(1), masks.shape[1] - rows[:, ::-1].argmax(1)
    return np.stack([*firsts, *ends], axis=1).astype(np.float32)


def _ground(size: int, rng: np.random.Generator) -> Plane:
    """Return a plain ground, float64 (size, size, 3), that grows darker in one direction."""
    colour, angle = np.array(GROUNDS[rng.integers(len(GROUNDS))]), rng.uniform(0, 2 * math.pi)
    y, x = np.indices((size, size)) / size - 0.5
    ground: Plane = colour * (0.92 + 0.1 * (x * math.cos(angle) + y * math.sin(angle)))[..., None]
    return ground


def _paint(scene: Plane, depth: Plane, radius: float, colour: Colour) -> None:
    """Paint a shape, darker towards its outline, so that shapes of one colour can be told apart; edges are mixed."""
    light = 1 - SHADE * np.exp(-depth.clip(0) / (0.12 * radius))
    share = (depth + 0.5).clip(0, 1)[..., None]
    scene += share * (light[..., None] * colour - scene)
