from types import SimpleNamespace

import numpy as np
import pytest

from ccnet_data.errors import DataError
from ccnet_data.testing import check_sample
from ccnet_data.warp import WarpAugment, fit_matrix, invert, warp_back

SIZE = (40, 33)
"""Height and width of the warped pictures."""


@pytest.fixture
def sample():
    """A 30x25 picture without any order, with labels of four classes in blocks and some to ignore."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (10, 5)).astype(np.uint8).repeat(3, axis=0).repeat(5, axis=1)
    label[:3, :5] = 255
    return {"image": rng.integers(0, 256, (3, 30, 25)).astype(np.uint8), "label": label, "id": "a"}


def plain(**changes):
    """WarpAugment with every random step turned off, save for `changes`."""
    return WarpAugment(**{"size": SIZE, "scale": 0, "rotate_probability": 0, "flip": 0, **changes})


def places(matrix, size):
    """Yield each pixel of the result with the place, column and row, that `matrix` leads to."""
    for row in range(size[0]):
        for column in range(size[1]):
            yield (row, column), np.array(matrix, np.float64) @ [column, row, 1]


def slow_bilinear(plane, matrix, size):
    """Sample float64 `plane` pixel by pixel; nan where a place is off it, its border repeated half a pixel outwards."""
    height, width = plane.shape
    result = np.full(size, np.nan)
    for pixel, (x, y) in places(matrix, size):
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            continue
        left, top = int(np.floor(x)), int(np.floor(y))
        result[pixel] = sum(
            (1 - abs(x - column))
            * (1 - abs(y - row))
            * plane[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            for row in (top, top + 1)
            for column in (left, left + 1)
        )
    return result


def slow_nearest(label, matrix, size):
    """Return the labels, and where the nearest pixel is clear by more than a hundredth of a pixel."""
    height, width = label.shape
    result, clear = np.full(size, 255, np.uint8), np.zeros(size, bool)
    for pixel, (x, y) in places(matrix, size):
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        if 0 <= column < width and 0 <= row < height:
            result[pixel] = label[row, column]
        clear[pixel] = max(abs(x - column), abs(y - row)) < 0.49
    return result, clear


class TestTheMatrix:
    @pytest.mark.parametrize("degrees", [0, 30, -50])
    @pytest.mark.parametrize(("original", "size"), [((50, 40), (473, 473)), ((40, 50), (384, 384)), ((9, 9), (30, 40))])
    def test_it_takes_the_three_points_of_ce2p_to_theirs(self, original, size, degrees):
        """The middle; half a box above it, turned; the corner that makes a right angle there."""
        (height, width), (rows, columns) = original, size
        box = 1.2 * max(width - 1, (height - 1) * columns / rows)
        angle = np.pi * degrees / 180
        up = np.array([np.sin(angle), -np.cos(angle)]) * box / 2
        left = np.array([-np.cos(angle), -np.sin(angle)]) * box / 2
        middle, target = np.array([width - 1, height - 1]) / 2, np.array([columns - 1, rows - 1]) / 2
        half = (columns - 1) / 2
        matrix = fit_matrix(original, size, shrink=1.2, degrees=degrees)
        for source, expected in (
            (middle, target),
            (middle + up, target - np.array([0, half])),
            (middle + up + left, target - half),
        ):
            np.testing.assert_allclose(matrix @ [*source, 1], expected, atol=1e-9)

    def test_the_centres_of_the_corner_pixels_meet_in_a_square_picture(self):
        matrix = fit_matrix((20, 20), (473, 473))
        np.testing.assert_allclose(matrix @ [0, 0, 1], [0, 0], atol=1e-9)
        np.testing.assert_allclose(matrix @ [19, 19, 1], [472, 472], atol=1e-9)

    def test_its_inverse_leads_back(self):
        matrix = fit_matrix((50, 40), SIZE, shrink=0.8, degrees=17)
        np.testing.assert_allclose(invert(matrix) @ [*(matrix @ [3, 4, 1]), 1], [3, 4], atol=1e-9)

    def test_a_picture_of_one_pixel_has_one_too(self):
        np.testing.assert_allclose(fit_matrix((1, 1), (5, 5)) @ [0, 0, 1], [2, 2])


class TestWarping:
    @pytest.mark.parametrize("seed", range(6))
    def test_pictures_are_sampled_bilinearly_where_the_matrix_says(self, sample, seed):
        """Pillow cuts off the fraction of a byte instead of rounding it, so a value is up to 1 below the true one."""
        result = plain(scale=0.5, rotate_probability=1, flip=0.5, fill=(1, 2, 3))(sample, np.random.default_rng(seed))
        for warped, original, fill in zip(result["image"], sample["image"], (1, 2, 3), strict=True):
            expected = slow_bilinear(original.astype(np.float64), invert(result["warp"]), SIZE)
            outside = np.isnan(expected)
            assert np.all(warped[outside] == fill)
            difference = expected[~outside] - warped[~outside]
            assert difference.min() > -1e-6
            assert difference.max() < 1

    @pytest.mark.parametrize("seed", range(6))
    def test_labels_come_from_the_nearest_pixel(self, sample, seed):
        result = plain(scale=0.5, rotate_probability=1, flip=0.5)(sample, np.random.default_rng(seed))
        expected, clear = slow_nearest(sample["label"], invert(result["warp"]), SIZE)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(result["label"][clear], expected[clear])

    def test_the_matrix_tells_where_a_pixel_went_in_a_mirror_image_too(self, sample):
        sample["image"][:] = 0
        sample["image"][:, 7, 20] = 255
        for flip in (0, 1):
            result = plain(size=(301, 301), rotate_probability=1, flip=flip)(sample, np.random.default_rng(3))
            rows, columns = np.nonzero(result["image"][0] > 200)
            np.testing.assert_allclose(result["warp"] @ [20, 7, 1], [columns.mean(), rows.mean()], atol=0.6)

    def test_a_mirror_image_swaps_the_paired_classes(self, sample):
        sample["label"][:, :12], sample["label"][:, 12:] = 1, 2
        for pairs, left, right in (((), 2, 1), ([(1, 2)], 1, 2)):
            label = plain(flip=1, flip_pairs=pairs)(sample, np.random.default_rng(0))["label"]
            assert set(label[20, :10]) == {left}
            assert set(label[20, -10:]) == {right}

    def test_the_original_size_is_told(self, sample):
        assert plain()(sample, np.random.default_rng(0))["original_size"] == (30, 25)

    def test_the_result_conforms_and_shares_no_memory(self, sample):
        before = {key: sample[key].copy() for key in ("image", "label")}
        for seed in range(5):
            result = WarpAugment(size=SIZE)(sample, np.random.default_rng(seed))
            check_sample(result, SimpleNamespace(classes=("a", "b", "c", "d"), task="segmentation"))
            assert result["warp"].dtype == np.float64
            for key, array in before.items():
                assert not np.shares_memory(result[key], sample[key])
                np.testing.assert_array_equal(sample[key], array)

    def test_what_else_a_sample_has_stays(self, sample):
        result = plain()({**sample, "replaces": "b.png: is damaged"}, np.random.default_rng(0))
        assert (result["id"], result["replaces"]) == ("a", "b.png: is damaged")

    def test_a_clip_is_refused(self, sample):
        clip = {**sample, "image": sample["image"][None]}
        with pytest.raises(DataError, match="Sample 'a' is a clip"):
            WarpAugment()(clip, np.random.default_rng(0))


class TestChance:
    def test_the_same_generator_state_gives_the_same_result(self, sample):
        one, two, other = (WarpAugment(size=SIZE)(sample, np.random.default_rng(seed)) for seed in (5, 5, 6))
        np.testing.assert_array_equal(one["image"], two["image"])
        np.testing.assert_array_equal(one["warp"], two["warp"])
        assert not np.array_equal(one["warp"], other["warp"])

    def test_without_chance_every_generator_gives_the_plain_fit(self, sample):
        pipeline = WarpAugment(size=SIZE, fill=(9, 8, 7)).without_chance()
        assert pipeline == plain(fill=(9, 8, 7))
        for seed in range(5):
            result = pipeline(sample, np.random.default_rng(seed))
            np.testing.assert_array_equal(result["warp"], fit_matrix((30, 25), SIZE))

    def test_scale_and_angle_are_clipped_normals_and_half_are_mirrored(self):
        sample = {"image": np.zeros((3, 9, 9), np.uint8), "label": np.zeros((9, 9), np.uint8), "id": "a"}
        rng, pipeline = np.random.default_rng(0), WarpAugment(size=(9, 9))
        turns = np.array([pipeline(sample, rng)["warp"][:, :2] for _ in range(4000)])
        determinants = np.linalg.det(turns)
        shrink = 1 / np.sqrt(np.abs(determinants))
        angles = np.degrees(np.arctan2(turns[:, 0, 1], turns[:, 1, 1]))
        turned = np.abs(angles) > 1e-9
        assert (shrink.min(), shrink.max()) == pytest.approx((0.75, 1.25))
        # A normal distribution has 0.159 beyond one deviation on either side, 0.683 within one.
        assert np.mean(shrink < 0.75 + 1e-9) == pytest.approx(0.159, abs=0.02)
        assert np.mean(shrink > 1.25 - 1e-9) == pytest.approx(0.159, abs=0.02)
        assert np.mean(np.abs(shrink - 1) < 0.125) == pytest.approx(0.383, abs=0.025)
        assert turned.mean() == pytest.approx(0.6, abs=0.025)
        assert np.mean(np.abs(angles[turned]) < 30) == pytest.approx(0.683, abs=0.03)
        assert np.mean(np.abs(angles[turned]) > 60 - 1e-9) == pytest.approx(0.0455, abs=0.015)
        assert np.abs(angles).max() == pytest.approx(60)
        assert np.mean(angles[turned] > 0) == pytest.approx(0.5, abs=0.035)
        assert np.mean(determinants < 0) == pytest.approx(0.5, abs=0.025)


class TestTheWayBack:
    @pytest.mark.parametrize("flip", [0, 1])
    def test_labels_survive_the_round_trip(self, flip):
        rng = np.random.default_rng(1)
        label = rng.integers(0, 5, (14, 11)).astype(np.uint8).repeat(14, axis=0).repeat(14, axis=1)
        sample = {"image": np.zeros((3, *label.shape), np.uint8), "label": label, "id": "a"}
        for seed in range(4):
            pipeline = WarpAugment(size=(473, 473), flip=flip)
            result = pipeline(sample, np.random.default_rng(seed))
            back = warp_back(result["label"], result["warp"], result["original_size"])
            inside = back != 255
            assert inside.mean() > 0.6
            assert np.mean(back[inside] == label[inside]) > 0.97

    def test_the_plain_fit_reaches_every_pixel_of_the_original(self):
        for original in ((30, 25), (25, 30), (28, 28), (28, 56)):
            for size in ((33, 33), (20, 40), (40, 20)):
                back = warp_back(np.zeros(size, np.uint8), fit_matrix(original, size), original)
                np.testing.assert_array_equal(back, np.zeros(original))

    def test_labels_are_looked_up_where_the_matrix_says(self, sample):
        warp = fit_matrix((20, 21), (30, 25), shrink=0.9, degrees=20)
        expected, clear = slow_nearest(sample["label"], warp, (20, 21))
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(warp_back(sample["label"], warp, (20, 21))[clear], expected[clear])

    def test_scores_are_interpolated_before_the_best_class_is_taken(self):
        scores = np.random.default_rng(0).normal(size=(4, 30, 25))
        warp = fit_matrix((50, 41), (30, 25), shrink=0.8, degrees=20)
        expected = np.stack([slow_bilinear(plane, warp, (50, 41)) for plane in scores])
        outside = np.isnan(expected[0])
        best = np.where(outside, 255, expected.argmax(axis=0))
        ordered = np.sort(expected, axis=0)
        clear = outside | (ordered[-1] - ordered[-2] > 1e-4)
        assert outside.any()
        assert clear.mean() > 0.99
        for dtype in (np.float64, np.float32):
            np.testing.assert_array_equal(warp_back(scores.astype(dtype), warp, (50, 41))[clear], best[clear])

    @pytest.mark.parametrize(("shape", "dtype"), [((4, 4), float), ((4, 4), int), ((2, 4, 4), np.uint8)])
    def test_other_arrays_are_refused(self, shape, dtype):
        with pytest.raises(DataError, match=r"labels, uint8 \(h, w\), or scores, floating"):
            warp_back(np.zeros(shape, dtype), fit_matrix((4, 4), (4, 4)), (4, 4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 473}, "size must be a list of 2 values"),
        ({"size": (1, 473)}, "size must be a whole number from 2"),
        ({"scale": 1}, "scale must be a number from 0 to 0.9"),
        ({"rotation": 91}, "rotation must be a number from 0 to 90"),
        ({"rotate_probability": 2}, "rotate_probability must be a number from 0 to 1"),
        ({"flip": -1}, "flip must be a number from 0 to 1"),
        ({"fill": (0, 0, 256)}, "fill must be a whole number from 0 to 255"),
        ({"flip_pairs": [(1, 2, 3)]}, "flip_pairs must be a list of 2 values"),
    ],
)
def test_wrong_values_are_refused_by_name(wrong, message):
    with pytest.raises(DataError, match=message):
        WarpAugment(**wrong)
