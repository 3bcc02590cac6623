"""A figure in front of a background, cut out as the people of LIP are."""

import numpy as np
from PIL import Image, ImageDraw

from ..sample import Pixels
from .canvas import Canvas, ellipse
from .figure import draw_figure
from .outfit import cloth, draw_outfit
from .pose import Pose, draw_pose

NOISE = 4
"""Standard deviation of every byte of the picture."""
CUTS, CUT_PROBABILITY = (2.7, 2.1), 0.2
"""Where some pictures end: at the knees or the hips, in heads."""
HEAD = (-0.5 + 0j, 0.5 + 0j, -0.9j)
"""Ends of a head with a hat."""


def draw_scene(size: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Draw one picture, uint8 (3, H, W), and its labels, uint8 (H, W); the longer side is `size` at most."""
    pose, outfit = draw_pose(rng), draw_outfit(rng)
    left, top, right, bottom = _extent(pose, rng)
    longest = size * rng.uniform(0.6, 1)
    scale = longest / max(right - left, bottom - top)
    height, width = (max(2, min(size, round(scale * length))) for length in (bottom - top, right - left))
    canvas = Canvas(_background(height, width, rng), scale * np.exp(1j * pose.tilt), -scale * complex(left, top))
    draw_figure(canvas, pose, outfit)
    picture, label = canvas.finished()
    noisy = picture + rng.normal(0, NOISE, picture.shape)
    return np.ascontiguousarray(noisy.clip(0, 255).astype(np.uint8).transpose(2, 0, 1)), label


def _extent(pose: Pose, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return the left, upper, right and lower end of the picture, in heads, with a margin."""
    joints = [point for arm in pose.arms.values() for point in (arm.elbow, arm.hand)]
    ankles = [leg.ankle for leg in pose.legs.values()]
    turned = np.array([*HEAD, *joints, *ankles]) * np.exp(1j * pose.tilt)
    left, top, right, bottom = rng.uniform(0.2, 0.5, 4)
    lower = turned.imag.max() + bottom
    if rng.random() < CUT_PROBABILITY:
        lower = CUTS[rng.integers(len(CUTS))]
    return turned.real.min() - left, turned.imag.min() - top, turned.real.max() + right, lower


def _background(height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture that runs from one pale colour to another, with a few shapes on it."""
    upper, lower = (np.array(cloth(rng, strongest=0.4)) for _ in range(2))
    share = np.linspace(0, 1, height)[:, None, None]
    rows = (1 - share) * upper + share * lower
    picture = Image.fromarray(np.broadcast_to(rows.round().astype(np.uint8), (height, width, 3)).copy())
    for _ in range(rng.integers(0, 7)):
        middle = complex(rng.uniform(0, width), rng.uniform(0, height))
        across, down = rng.uniform(0.05, 0.3, 2) * max(height, width)
        shape = ellipse(middle, across, down, turn=rng.uniform(0, np.pi))[:: int(rng.choice((1, 8)))]
        points = list(zip(shape.real.tolist(), shape.imag.tolist(), strict=True))
        ImageDraw.Draw(picture).polygon(points, fill=cloth(rng, strongest=0.4))
    return picture
