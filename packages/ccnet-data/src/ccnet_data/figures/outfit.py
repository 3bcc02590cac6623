"""What a figure wears, and its colours."""

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..sample import Colour
from .pose import SIDES

SKIN: tuple[Colour, ...] = ((246, 214, 188), (232, 188, 150), (204, 152, 110), (160, 108, 74), (110, 72, 50))
HAIR: tuple[Colour, ...] = ((40, 32, 30), (88, 58, 36), (150, 96, 48), (218, 176, 96), (150, 150, 156), (150, 52, 30))

Garment = Literal["shirt", "coat", "dress", "jumpsuit"]
Length = Literal["none", "short", "long"]


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """Clothes and colours; what may be absent is None. `sleeves` and `trousers` say how far down they reach.

    Skin and shoes have a colour for each side: no two limbs of a figure look alike, and none tells its side.
    """

    garment: Garment
    sleeves: Length
    trousers: Length
    top: Colour
    bottom: Colour
    coat: Colour
    face: Colour
    arms: dict[int, Colour]
    legs: dict[int, Colour]
    shoes: dict[int, Colour]
    hair: Colour
    long_hair: bool
    skirt: bool
    hat: Colour | None
    gloves: Colour | None
    socks: Colour | None
    scarf: Colour | None
    sunglasses: Colour | None


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Return random clothes in random colours."""
    garments: tuple[Garment, ...] = ("shirt", "coat", "dress", "jumpsuit")
    lengths: tuple[Length, ...] = ("none", "short", "long")
    garment = garments[rng.choice(4, p=(0.4, 0.25, 0.2, 0.15))]
    skin = SKIN[rng.integers(len(SKIN))]
    separate = garment in ("shirt", "coat")
    skirt = bool(separate and rng.random() < 0.35)
    return Outfit(
        garment=garment,
        sleeves="long" if garment == "coat" else lengths[rng.integers(3)],
        trousers=lengths[rng.integers(1, 3)] if garment == "jumpsuit" or (separate and not skirt) else "none",
        top=cloth(rng),
        bottom=cloth(rng),
        coat=cloth(rng),
        face=skin,
        arms={side: shade(skin, rng) for side in SIDES},
        legs={side: shade(skin, rng) for side in SIDES},
        shoes={side: cloth(rng) for side in SIDES},
        hair=shade(HAIR[rng.integers(len(HAIR))], rng),
        long_hair=bool(rng.random() < 0.5),
        skirt=skirt,
        hat=_perhaps(0.4, rng),
        gloves=_perhaps(0.3, rng),
        socks=_perhaps(0.6, rng),
        scarf=_perhaps(0.35, rng),
        sunglasses=(35, 35, 45) if rng.random() < 0.4 else None,
    )


def cloth(rng: np.random.Generator, *, strongest: float = 0.9) -> Colour:
    """Return a colour of any hue, its saturation up to `strongest`."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, strongest), rng.uniform(0.3, 0.95))
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, rng: np.random.Generator) -> Colour:
    """Return `colour` a little darker or lighter."""
    return scaled(colour, rng.uniform(0.82, 1.08))


def scaled(colour: Colour, factor: float) -> Colour:
    """Return `colour` times `factor`, 255 at most."""
    red, green, blue = (min(255, round(factor * channel)) for channel in colour)
    return red, green, blue


def _perhaps(probability: float, rng: np.random.Generator) -> Colour | None:
    return cloth(rng) if rng.random() < probability else None
