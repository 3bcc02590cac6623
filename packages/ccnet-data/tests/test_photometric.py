import colorsys
from collections import Counter

import numpy as np
import pytest

from ccnet_data import photometric
from ccnet_data.photometric import adjust_brightness, adjust_contrast, adjust_saturation, distort, rotate_hue


def slow(colours, change):
    """Apply `change` to (hue, saturation, value), each 0-1, of every pixel with the standard library, in float64."""
    result = np.empty(colours.shape)
    for y, x in np.ndindex(colours.shape[1:]):
        hsv = colorsys.rgb_to_hsv(*(colours[:, y, x].astype(float) / 255))
        result[:, y, x] = np.array(colorsys.hsv_to_rgb(*change(*hsv))) * 255
    return result


@pytest.fixture
def colours():
    """Random colours, and those where hue or saturation is an edge case: black, white, grey, primaries, ties."""
    edges = [[0, 0, 0], [255, 255, 255], [90, 90, 90], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 200, 200], [7, 7, 1]]
    random = np.random.default_rng(0).integers(0, 256, (56, 3))
    return np.concatenate([edges, random]).T.reshape(3, 8, 8).astype(np.float32)


class Scripted:
    """A generator whose coin falls as told, and which records the ranges it is asked to draw from."""

    def __init__(self, coins, share):
        self.coins, self.share, self.ranges = list(coins), share, []

    def random(self):
        return 0.0 if self.coins.pop(0) else 0.9

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return low + self.share * (high - low)


@pytest.mark.parametrize("degrees", [-36, -10.5, 0, 20, 36, 180])
def test_hue_turns_as_in_the_standard_library(colours, degrees):
    expected = slow(colours, lambda hue, saturation, value: ((hue + degrees / 360) % 1, saturation, value))
    np.testing.assert_allclose(rotate_hue(colours, degrees), expected, atol=0.01)


@pytest.mark.parametrize("gain", [0, 0.5, 1, 1.3, 1.5])
def test_saturation_scales_as_in_the_standard_library(colours, gain):
    expected = slow(colours, lambda hue, saturation, value: (hue, min(1, saturation * gain), value))
    np.testing.assert_allclose(adjust_saturation(colours, gain), expected, atol=0.01)


def test_brightness_adds_and_stays_in_range(colours):
    np.testing.assert_array_equal(adjust_brightness(colours, 32), np.minimum(colours + 32, 255))
    np.testing.assert_array_equal(adjust_brightness(colours, -32), np.maximum(colours - 32, 0))


def test_contrast_multiplies_and_stays_in_range(colours):
    np.testing.assert_array_equal(adjust_contrast(colours, 1.5), np.minimum(colours * 1.5, 255))
    np.testing.assert_array_equal(adjust_contrast(colours, 0.5), colours * 0.5)


@pytest.mark.parametrize("function", [adjust_brightness, adjust_contrast, adjust_saturation, rotate_hue])
def test_the_steps_stay_in_float32_and_leave_their_argument(colours, function):
    before = colours.copy()
    assert function(colours, 0.7).dtype == np.float32
    np.testing.assert_array_equal(colours, before)


def test_the_ranges_are_those_of_the_published_models(colours):
    draws = Scripted([True, True, True, True, True], share=0.5)
    distort(colours.astype(np.uint8), draws)
    assert draws.ranges == [(-32, 32), (0.5, 1.5), (0.5, 1.5), (-36, 36)]


@pytest.mark.parametrize(
    ("first", "order"),
    [(True, ["brightness", "contrast", "saturation", "hue"]), (False, ["brightness", "saturation", "hue", "contrast"])],
)
def test_contrast_comes_second_or_last(colours, monkeypatch, first, order):
    called = []
    for name in ("adjust_brightness", "adjust_contrast", "adjust_saturation", "rotate_hue"):
        kind = name.removeprefix("adjust_").removeprefix("rotate_")
        monkeypatch.setattr(photometric, name, lambda array, _, kind=kind: called.append(kind) or array)
    distort(colours.astype(np.uint8), Scripted([first, True, True, True, True], share=0.5))
    assert called == order


def test_every_combination_of_the_four_is_as_likely(monkeypatch):
    image = np.zeros((3, 1, 1), np.uint8)
    applied: list[str] = []
    for name in ("adjust_brightness", "adjust_contrast", "adjust_saturation", "rotate_hue"):
        monkeypatch.setattr(photometric, name, lambda array, _, name=name: applied.append(name) or array)
    rng = np.random.default_rng(0)
    combinations: Counter[frozenset[str]] = Counter()
    for _ in range(3200):
        applied.clear()
        distort(image, rng)
        combinations[frozenset(applied)] += 1
    assert len(combinations) == 16
    assert all(140 < count < 260 for count in combinations.values())


def test_blocks_leave_no_seams(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 30), np.uint8)
    everything = [True, True, True, True, True]
    expected = distort(image, Scripted(everything, share=0.7))
    for pixels in (1, 37, 599):
        monkeypatch.setattr(photometric, "_BLOCK", pixels)
        np.testing.assert_array_equal(distort(image, Scripted(everything, share=0.7)), expected)


def test_nothing_drawn_gives_the_picture_back_exactly(colours):
    image = colours.astype(np.uint8)
    np.testing.assert_array_equal(distort(image, Scripted([True, False, False, False, False], share=0)), image)


def test_the_result_is_rounded_not_cut(colours):
    image = np.full((3, 1, 1), 101, np.uint8)
    darker = distort(image, Scripted([True, False, True, False, False], share=0.011))
    np.testing.assert_array_equal(darker, 52)  # 101 * 0.511 = 51.6


def test_clipping_never_wraps_around():
    white = np.full((3, 4, 4), 255, np.uint8)
    rng = np.random.default_rng(0)
    assert min(int(distort(white, rng).min()) for _ in range(200)) >= (255 - 32) * 0.5 - 1
