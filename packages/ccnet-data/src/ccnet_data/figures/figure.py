"""A figure on a canvas, from what is behind to what is in front."""

import numpy as np

from ..layouts.lip import CLASSES
from ..sample import Colour
from .canvas import Canvas, ellipse
from .outfit import Length, Outfit, scaled
from .pose import LEFT, NECK, RIGHT, SIDES, Arm, Leg, Pose, mirrored

PART = {name: number for number, (name, _) in enumerate(CLASSES)}
GARMENT = {"shirt": "UpperClothes", "coat": "Coat", "dress": "Dress", "jumpsuit": "Jumpsuits"}
SIDE_NAME = {LEFT: "Left", RIGHT: "Right"}

ARM, LEG = (0.15, 0.13, 0.10), (0.20, 0.17, 0.13)
"""Radii at shoulder, elbow and wrist, and at hip, knee and ankle."""
LOOSE = 1.25
"""How much wider than the limb is what covers it."""
TORSO = (0.2 + 0.62j, 0.52 + 0.72j, 0.40 + 1.5j, 0.45 + 1.98j)
"""From top to bottom, as the skirt; the right half mirrors it."""
SKIRT = (0.40 + 1.5j, 0.78 + 2.75j)
COAT = (0.2 + 0.60j, 0.58 + 0.70j, 0.52 + 1.5j, 0.66 + 2.45j, 0.16 + 2.45j, 0.13 + 0.62j)
BELT = (0.4 + 1.46j, 0.4 + 1.54j)
CROWN = (0.36 - 0.78j, 0.44 - 0.32j)


def draw_figure(canvas: Canvas, pose: Pose, outfit: Outfit) -> None:
    """Draw a figure of this pose and outfit."""
    if outfit.long_hair:
        canvas.shape(ellipse(0.25j, 0.52, 0.68, turn=pose.nod), outfit.hair, PART["Hair"])
    for side in SIDES:
        _draw_leg(canvas, pose.legs[side], side, outfit)
    _draw_body(canvas, outfit)
    for side in SIDES:
        _draw_arm(canvas, pose.arms[side], side, outfit)
    canvas.limb((NECK - 0.25j, NECK + 0.1j), (0.17, 0.17), outfit.face, PART["Face"])
    if outfit.scarf:
        canvas.limb((0.28 + 0.62j, -0.28 + 0.62j), (0.13, 0.13), outfit.scarf, PART["Scarf"])
        canvas.limb((0.16 + 0.66j, 0.22 + 1.2j), (0.11, 0.13), outfit.scarf, PART["Scarf"])
    _draw_head(canvas, np.exp(1j * pose.nod), pose.nod, outfit)


def _draw_leg(canvas: Canvas, leg: Leg, side: int, outfit: Outfit) -> None:
    joints = (leg.hip, leg.knee, leg.ankle)
    canvas.limb(joints, LEG, outfit.legs[side], PART[f"{SIDE_NAME[side]}-leg"])
    if outfit.socks:
        top = leg.ankle + 0.45 * (leg.knee - leg.ankle)
        canvas.limb((top, leg.ankle), (0.16, 0.14), outfit.socks, PART["Socks"])
    if outfit.garment == "jumpsuit":
        _cover(canvas, joints, LEG, outfit.trousers, outfit.top, PART["Jumpsuits"])
    else:
        _cover(canvas, joints, LEG, outfit.trousers, outfit.bottom, PART["Pants"])
    toe = leg.ankle + mirrored(0.17 + 0.12j, side)
    canvas.limb((leg.ankle + 0.06j, toe), (0.16, 0.13), outfit.shoes[side], PART[f"{SIDE_NAME[side]}-shoe"])


def _draw_arm(canvas: Canvas, arm: Arm, side: int, outfit: Outfit) -> None:
    joints = (arm.shoulder, arm.elbow, arm.wrist)
    canvas.limb((*joints, arm.hand), (*ARM, 0.14), outfit.arms[side], PART[f"{SIDE_NAME[side]}-arm"])
    if outfit.gloves:
        canvas.limb((arm.wrist, arm.hand), (0.13, 0.17), outfit.gloves, PART["Glove"])
    colour = outfit.coat if outfit.garment == "coat" else outfit.top
    _cover(canvas, joints, ARM, outfit.sleeves, colour, PART[GARMENT[outfit.garment]])


def _cover(
    canvas: Canvas, joints: tuple[complex, ...], radii: tuple[float, ...], length: Length, colour: Colour, part: int
) -> None:
    """Draw a sleeve or a trouser leg: to the end of the limb, or to its second joint."""
    if length != "none":
        reach = len(joints) if length == "long" else 2
        canvas.limb(joints[:reach], [LOOSE * radius for radius in radii[:reach]], colour, part)


def _draw_body(canvas: Canvas, outfit: Outfit) -> None:
    if outfit.garment == "dress":
        canvas.shape(_whole((*TORSO[:3], SKIRT[1])), outfit.top, PART["Dress"])
        return
    if outfit.garment == "jumpsuit":
        canvas.shape(_whole(TORSO), outfit.top, PART["Jumpsuits"])
        canvas.detail(_whole(BELT), scaled(outfit.top, 0.5))
        return
    if outfit.skirt:
        canvas.shape(_whole(SKIRT), outfit.bottom, PART["Skirt"])
    else:
        canvas.limb((0.2 + 1.85j, -0.2 + 1.85j), (0.24, 0.24), outfit.bottom, PART["Pants"])
    canvas.shape(_whole(TORSO), outfit.top, PART["UpperClothes"])
    if outfit.garment == "coat":
        for side in SIDES:
            canvas.shape([mirrored(point, side) for point in COAT], outfit.coat, PART["Coat"])


def _draw_head(canvas: Canvas, turned: complex, nod: float, outfit: Outfit) -> None:
    canvas.shape(ellipse(0, 0.42, 0.5, turn=nod), outfit.face, PART["Face"])
    for side in SIDES:
        canvas.detail(ellipse(mirrored(0.16 + 0.02j, side) * turned, 0.05, 0.06), (30, 30, 30))
    canvas.detail(ellipse(0.28j * turned, 0.13, 0.04, turn=nod), scaled(outfit.face, 0.6))
    canvas.shape(ellipse(-0.1j * turned, 0.46, 0.5, turn=nod, top=0.36), outfit.hair, PART["Hair"])
    if outfit.sunglasses:
        for side in SIDES:
            lens = ellipse(mirrored(0.19 + 0.03j, side) * turned, 0.2, 0.15, turn=nod)
            canvas.shape(lens, outfit.sunglasses, PART["Sunglasses"])
    if outfit.hat:
        canvas.shape([point * turned for point in _whole(CROWN)], outfit.hat, PART["Hat"])
        brim = (mirrored(0.5 - 0.3j, side) * turned for side in SIDES)
        canvas.limb(tuple(brim), (0.09, 0.09), outfit.hat, PART["Hat"])


def _whole(half: tuple[complex, ...]) -> list[complex]:
    """Return the outline of which `half` is the left half, from top to bottom."""
    return [*half, *(mirrored(point, RIGHT) for point in reversed(half))]
