from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ccnet_data.figures.canvas import Canvas
from ccnet_data.figures.figure import PART, draw_figure
from ccnet_data.figures.outfit import Outfit
from ccnet_data.figures.pose import SIDES, draw_pose

PLAIN = Outfit(
    garment="shirt",
    sleeves="none",
    trousers="short",
    top=(200, 30, 30),
    bottom=(30, 30, 200),
    coat=(30, 200, 30),
    face=(240, 210, 190),
    arms=dict.fromkeys(SIDES, (230, 200, 180)),
    legs=dict.fromkeys(SIDES, (220, 190, 170)),
    shoes=dict.fromkeys(SIDES, (90, 60, 30)),
    hair=(40, 30, 30),
    long_hair=False,
    skirt=False,
    hat=None,
    gloves=None,
    socks=None,
    scarf=None,
    sunglasses=None,
)
BODY = {"Background", "Hair", "Face", "Left-arm", "Right-arm", "Left-shoe", "Right-shoe"}
LEGS = {"Left-leg", "Right-leg"}
COLOUR = (120, 40, 160)


def parts(**changes):
    """The names of the parts that are seen of a figure 30 pixels a head."""
    canvas = Canvas(Image.new("RGB", (150, 160), (128, 128, 128)), 30, 75 + 25j)
    draw_figure(canvas, draw_pose(np.random.default_rng(3)), replace(PLAIN, **changes))
    names = {number: name for name, number in PART.items()}
    return {names[number] for number in np.unique(canvas.finished()[1]).tolist()}


@pytest.mark.parametrize(
    ("changes", "clothes"),
    [
        ({}, {"UpperClothes", "Pants"} | LEGS),
        ({"trousers": "long"}, {"UpperClothes", "Pants"}),
        ({"trousers": "none", "skirt": True}, {"UpperClothes", "Skirt"} | LEGS),
        ({"trousers": "none", "garment": "dress"}, {"Dress"} | LEGS),
        ({"garment": "jumpsuit"}, {"Jumpsuits"} | LEGS),
        ({"garment": "coat", "sleeves": "long"}, {"UpperClothes", "Coat", "Pants"} | LEGS),
    ],
)
def test_a_figure_has_its_body_and_what_it_wears(changes, clothes):
    assert parts(**changes) == BODY | clothes


@pytest.mark.parametrize(
    ("name", "part"),
    [("hat", "Hat"), ("gloves", "Glove"), ("socks", "Socks"), ("scarf", "Scarf"), ("sunglasses", "Sunglasses")],
)
def test_what_is_put_on_is_seen(name, part):
    assert parts(**{name: COLOUR}) - parts() == {part}


def test_long_hair_is_behind_the_face():
    assert parts(long_hair=True) == parts()
