"""The steps of `TrainAugment` beside those of mmsegmentation 1.2.2, on the same pictures and draws."""

import mmcv
import numpy as np
import pytest
from mmcv.transforms import RandomResize
from mmseg.datasets.transforms import PhotoMetricDistortion, RandomCrop

from ccnet_data.augment import is_mixed, pad, scaled_size
from ccnet_data.photometric import adjust_brightness, adjust_contrast, adjust_saturation, distort, rotate_hue
from ccnet_data.resize import resize_crop


@pytest.fixture
def picture():
    """RGB, (3, H, W): waves and noise, with corners of grey, white and black."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :90]
    waves = [128 + 100 * np.sin(x / period + y / 9) for period in (7, 13, 21)]
    image = np.clip(np.stack(waves) + rng.normal(0, 10, (3, 60, 90)), 0, 255).astype(np.uint8)
    image[:, :5, :5], image[:, -5:, :5], image[:, :5, -5:] = 128, 255, 0
    return image


def bgr(image):
    return np.ascontiguousarray(image[::-1].transpose(1, 2, 0))


def rgb(image):
    return image.transpose(2, 0, 1)[::-1]


def test_sizes_are_theirs():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        size = tuple(int(edge) for edge in rng.integers(1, 3000, 2))
        base, ratio = (int(rng.integers(100, 3000)), int(rng.integers(100, 3000))), float(rng.uniform(0.5, 2))
        resize = RandomResize(scale=base, ratio_range=(ratio, ratio), keep_ratio=True)
        expected = mmcv.rescale_size((size[1], size[0]), resize._random_scale())
        assert scaled_size(size, base, ratio) == tuple(max(1, edge) for edge in expected[::-1])


@pytest.mark.parametrize("size", [(30, 45), (41, 77), (60, 90), (61, 92), (119, 181)])
def test_a_resized_picture_is_at_most_1_grey_level_away(picture, size):
    ours = resize_crop(picture, size, (slice(0, size[0]), slice(0, size[1])))
    theirs = rgb(mmcv.imresize(bgr(picture), size[::-1]))
    difference = theirs.astype(int) - ours
    assert set(np.unique(difference)) <= {0, 1}  # theirs is rounded to the nearest, ours down


@pytest.mark.parametrize(("ours", "theirs"), [(adjust_brightness, {"beta": 21.3}), (adjust_contrast, {"alpha": 1.37})])
def test_brightness_and_contrast_are_theirs(picture, ours, theirs):
    expected = rgb(PhotoMetricDistortion().convert(bgr(picture), **theirs))
    found = ours(picture.astype(np.float32), *theirs.values())
    np.testing.assert_array_equal(found.astype(np.uint8), expected)  # they cut every step to bytes, we round the last


@pytest.mark.parametrize("gain", [0.6, 1.4])
def test_saturation_is_theirs_but_for_their_bytes(picture, gain):
    hsv = mmcv.bgr2hsv(bgr(picture))
    hsv[:, :, 1] = PhotoMetricDistortion().convert(hsv[:, :, 1], alpha=gain)
    assert_as_near_as_bytes_can_be(rgb(mmcv.hsv2bgr(hsv)), adjust_saturation(picture.astype(np.float32), gain))


@pytest.mark.parametrize("steps", [-18, -5, 9, 17])
def test_a_turned_hue_is_theirs_but_for_their_bytes(picture, steps):
    hsv = mmcv.bgr2hsv(bgr(picture))
    hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + steps) % 180
    assert_as_near_as_bytes_can_be(rgb(mmcv.hsv2bgr(hsv)), rotate_hue(picture.astype(np.float32), steps * 2))


def assert_as_near_as_bytes_can_be(theirs, ours):
    """Their hue is in steps of 2 degrees: half of one moves a channel by 255 / 60 grey levels, saturation adds some."""
    difference = np.abs(theirs - ours)
    assert np.quantile(difference, 0.99) <= 255 / 60
    assert difference.max() <= 6


def test_distorted_pictures_have_their_distribution(picture):
    """Mean and spread over 3000 draws of every pixel's brightness, the whole chain of both."""
    rng, distortion = np.random.default_rng(0), PhotoMetricDistortion()
    small = picture[:, ::10, ::10]
    ours = np.stack([distort(small, rng) for _ in range(3000)]).astype(float)
    theirs = np.stack([rgb(distortion.transform({"img": bgr(small)})["img"]) for _ in range(3000)]).astype(float)
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=5)
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), atol=3)


def test_a_crop_is_accepted_when_theirs_is():
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(3000):
        label = rng.choice([0, 1, 255], size=(2, 4), p=rng.dirichlet([1, 1, 0.5])).astype(np.uint8)
        crop = RandomCrop((2, 4), cat_max_ratio=0.75)
        asked = []
        crop.crop = lambda *_, label=label, asked=asked: asked.append(1) or label
        crop.crop_bbox({"img": label, "gt_seg_map": label})
        answers.append(is_mixed(label, 0.75))
        assert answers[-1] == (len(asked) == 1)  # they ask ten times for one that is not accepted
    assert 0.2 < np.mean(answers) < 0.8


def test_padding_is_the_colour_that_they_normalise_to_zero(picture):
    mean = np.array([123.675, 116.28, 103.53])
    padded, _ = pad(picture, np.zeros((60, 90), np.uint8), (70, 100), (124, 116, 104))
    assert np.abs(padded[:, -1, -1] - mean).max() < 0.5
