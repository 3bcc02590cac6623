import numpy as np
import pytest

from ccnet_data.figures.outfit import cloth, draw_outfit, scaled


@pytest.fixture(scope="module")
def outfits():
    rng = np.random.default_rng(0)
    return [draw_outfit(rng) for _ in range(400)]


def test_no_skirt_goes_with_trousers_and_a_dress_with_neither(outfits):
    for outfit in outfits:
        assert not (outfit.skirt and outfit.trousers != "none")
        if outfit.garment == "dress":
            assert (outfit.skirt, outfit.trousers) == (False, "none")
        if outfit.garment == "jumpsuit":
            assert outfit.trousers != "none"


def test_every_coat_has_long_sleeves(outfits):
    assert {outfit.sleeves for outfit in outfits if outfit.garment == "coat"} == {"long"}
    assert {outfit.sleeves for outfit in outfits if outfit.garment == "shirt"} == {"none", "short", "long"}


@pytest.mark.parametrize("name", ["hat", "gloves", "socks", "scarf", "sunglasses"])
def test_what_may_be_absent_is_there_and_is_not(outfits, name):
    worn = np.mean([getattr(outfit, name) is not None for outfit in outfits])
    assert 0.2 < worn < 0.75


@pytest.mark.parametrize("limbs", ["arms", "legs", "shoes"])
def test_left_and_right_have_colours_of_their_own(outfits, limbs):
    colours = [getattr(outfit, limbs) for outfit in outfits]
    assert np.mean([pair[1] != pair[-1] for pair in colours]) > 0.9
    lighter = np.mean([sum(pair[1]) > sum(pair[-1]) for pair in colours])
    assert 0.4 < lighter < 0.6  # so that the colour does not tell the side


def test_colours_are_bytes(outfits):
    for outfit in outfits:
        for colour in (outfit.top, outfit.face, *outfit.arms.values(), *outfit.shoes.values()):
            assert len(colour) == 3
            assert all(isinstance(channel, int) and 0 <= channel <= 255 for channel in colour)


def test_pale_colours_are_paler():
    rng = np.random.default_rng(0)
    assert max(np.ptp(cloth(rng, strongest=0.1)) for _ in range(50)) <= 0.1 * 0.95 * 255 + 1


def test_a_colour_is_scaled_up_to_white():
    assert scaled((10, 100, 200), 2) == (20, 200, 255)
