"""Where the joints of a figure are."""

from dataclasses import dataclass

import numpy as np

LEFT, RIGHT = 1, -1
SIDES = (LEFT, RIGHT)

NECK = 0.6j
SHOULDER, HIP = 0.47 + 0.78j, 0.25 + 1.9j
"""Of the left side; those of the right lie mirrored."""
UPPER_ARM, FOREARM, HAND = 0.62, 0.56, 0.13
THIGH, SHIN = 0.82, 0.82


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Shoulder, elbow and wrist, and the middle of the hand."""

    shoulder: complex
    elbow: complex
    wrist: complex
    hand: complex


@dataclass(frozen=True, kw_only=True)
class Leg:
    """Hip, knee and ankle."""

    hip: complex
    knee: complex
    ankle: complex


@dataclass(frozen=True, kw_only=True)
class Pose:
    """The limbs by `side`; `tilt` turns the whole figure and `nod` its head, both in radians, clockwise."""

    arms: dict[int, Arm]
    legs: dict[int, Leg]
    tilt: float
    nod: float


def draw_pose(rng: np.random.Generator) -> Pose:
    """Return a random pose in which no limb crosses to the other side."""
    return Pose(
        arms={side: _arm(side, rng) for side in SIDES},
        legs={side: _leg(side, rng) for side in SIDES},
        tilt=np.radians(rng.normal(0, 5)),
        nod=np.radians(rng.normal(0, 6)),
    )


def mirrored(point: complex, side: int) -> complex:
    """Return where a `point` of the left side lies on `side`."""
    return complex(side * point.real, point.imag)


def outward(side: int, degrees: float) -> complex:
    """Return the direction that is turned by `degrees` from straight down to the outside."""
    angle = np.radians(degrees)
    return complex(side * np.sin(angle), np.cos(angle))


def _arm(side: int, rng: np.random.Generator) -> Arm:
    raised = rng.uniform(12, 100)
    upper, lower = outward(side, raised), outward(side, raised + rng.uniform(-10, 65))
    shoulder = mirrored(SHOULDER, side)
    elbow = shoulder + UPPER_ARM * upper
    wrist = elbow + FOREARM * lower
    return Arm(shoulder=shoulder, elbow=elbow, wrist=wrist, hand=wrist + HAND * lower)


def _leg(side: int, rng: np.random.Generator) -> Leg:
    spread = rng.uniform(1, 20)
    hip = mirrored(HIP, side)
    knee = hip + THIGH * outward(side, spread)
    return Leg(hip=hip, knee=knee, ankle=knee + SHIN * outward(side, spread - rng.uniform(0, 15)))
