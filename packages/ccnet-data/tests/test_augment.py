import numpy as np
import pytest

from ccnet_data.augment import TrainAugment, draw_crop, is_mixed, mirror, pad, scaled_size
from ccnet_data.errors import DataError
from ccnet_data.registry import load
from ccnet_data.resize import resize_label
from ccnet_data.testing import check_sample


@pytest.fixture
def sample():
    """A 40x60 picture whose red and green tell row and column, with classes in stripes and a corner to ignore."""
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    label = (columns // 7 % 4).astype(np.uint8)
    label[:5, :5] = 255
    return {"image": np.stack([rows, columns, rows + columns]), "label": label, "id": "a"}


def plain(**changes):
    """TrainAugment with every random step but the crop's place turned off, save for `changes`."""
    off = {"ratio": (1, 1), "max_class_share": 1, "flip": 0, "photometric": False}
    return TrainAugment(**{**off, **changes})


class TestTheWholePipeline:
    def test_the_result_has_the_size_of_the_crop_and_conforms(self):
        dataset = load("beacon", split="train", length=1)
        for seed in range(20):
            result = TrainAugment(crop=(50, 71))(dataset[0], np.random.default_rng(seed))
            check_sample(result, dataset)
            assert (result["image"].shape, result["id"]) == ((3, 50, 71), dataset[0]["id"])

    def test_the_same_generator_state_gives_the_same_result(self, sample):
        pipeline = TrainAugment(crop=(32, 32))
        one, two, other = (pipeline(sample, np.random.default_rng(seed)) for seed in (5, 5, 6))
        np.testing.assert_array_equal(one["image"], two["image"])
        np.testing.assert_array_equal(one["label"], two["label"])
        assert not np.array_equal(one["image"], other["image"])

    @pytest.mark.parametrize("pipeline", [plain(crop=(40, 60)), TrainAugment(crop=(40, 60))])
    def test_the_input_stays_as_it_is_and_shares_no_memory(self, sample, pipeline):
        before = {key: sample[key].copy() for key in ("image", "label")}
        for key in before:
            sample[key].flags.writeable = False
        for seed in range(20):
            result = pipeline(sample, np.random.default_rng(seed))
            for key, array in before.items():
                assert not np.shares_memory(result[key], sample[key])
                assert result[key].flags.writeable
                np.testing.assert_array_equal(sample[key], array)

    def test_picture_and_label_move_together(self, sample):
        for seed in range(50):
            result = plain(crop=(16, 20), flip=0.5)(sample, np.random.default_rng(seed))
            rows, columns, _ = result["image"]
            np.testing.assert_array_equal(result["label"], sample["label"][rows, columns])

    def test_everything_off_gives_the_picture_back(self, sample):
        result = plain(crop=(40, 60))(sample, np.random.default_rng(0))
        np.testing.assert_array_equal(result["image"], sample["image"])
        np.testing.assert_array_equal(result["label"], sample["label"])

    def test_the_global_generator_is_not_touched(self, sample):
        state = np.random.get_state()[1].copy()
        TrainAugment(crop=(8, 8))(sample, np.random.default_rng(0))
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_resize_factors_are_uniform_over_the_ratio(self, sample):
        rng = np.random.default_rng(0)
        pipeline = plain(crop=(100, 140), ratio=(0.5, 2))
        heights = [np.count_nonzero((pipeline(sample, rng)["label"] != 255).any(axis=1)) for _ in range(1500)]
        expected = np.quantile(np.linspace(20, 80, 1001), [0.01, 0.25, 0.5, 0.75, 0.99])
        np.testing.assert_allclose(np.quantile(heights, [0.01, 0.25, 0.5, 0.75, 0.99]), expected, atol=3)
        assert (min(heights), max(heights)) == (20, 79)  # the scaled base is cut to whole pixels

    def test_padding_has_the_fill_colour_whatever_the_distortion(self, sample):
        for seed in range(20):
            result = TrainAugment(crop=(50, 70), ratio=(1, 1), fill=(1, 2, 3))(sample, np.random.default_rng(seed))
            np.testing.assert_array_equal(result["image"][:, 40:], np.broadcast_to([[[1]], [[2]], [[3]]], (3, 10, 70)))
            assert (result["label"][:, 60:] == 255).all()

    def test_half_of_the_pictures_are_mirrored(self, sample):
        rng = np.random.default_rng(0)
        pipeline = plain(crop=(40, 60), flip=0.5)
        mirrored = sum(pipeline(sample, rng)["image"][1, 0, 0] == 59 for _ in range(1000))
        assert 440 < mirrored < 560

    @pytest.mark.parametrize(("flip", "first_column"), [(0, 0), (1, 59)])
    def test_a_flip_of_0_or_1_is_never_or_always(self, sample, flip, first_column):
        rng = np.random.default_rng(0)
        for _ in range(50):
            assert plain(crop=(40, 60), flip=flip)(sample, rng)["image"][1, 0, 0] == first_column


class TestScaledSize:
    @pytest.mark.parametrize(
        ("size", "base_scale", "factor", "expected"),
        [
            ((1024, 2048), (2048, 1024), 0.5, (512, 1024)),  # Cityscapes
            ((1024, 2048), (2049, 1025), 1, (1025, 2049)),
            ((375, 500), (2048, 512), 1, (512, 683)),  # VOC: the shorter side decides
            ((500, 375), (2048, 512), 1, (683, 512)),  # whichever way the picture lies
            ((100, 1000), (2048, 512), 1, (205, 2048)),  # the longer side decides
            ((1000, 100), (2048, 512), 1, (2048, 205)),
            ((3, 900), (900, 3), 0.1, (1, 90)),
        ],
    )
    def test_the_ratio_is_kept_within_the_scaled_base(self, size, base_scale, factor, expected):
        assert scaled_size(size, base_scale, factor) == expected

    def test_a_base_scale_replaces_the_own_size(self, sample):
        result = plain(crop=(100, 140), base_scale=(120, 80))(sample, np.random.default_rng(0))
        assert (result["label"][80:] == 255).all()
        assert (result["image"][:, 79, 119] != (124, 116, 104)).all()


class TestDrawCrop:
    def test_every_place_is_as_likely(self):
        label, rng, hits = np.arange(36, dtype=np.uint8).reshape(6, 6), np.random.default_rng(0), np.zeros(36, int)
        for _ in range(4000):
            hits[draw_crop(label, (6, 6), (3, 3), 1, rng)[1][0, 0]] += 1
        places = hits.reshape(6, 6)
        assert places[4:].sum() == places[:, 4:].sum() == 0
        np.testing.assert_allclose(places[:4, :4], 250, atol=75)

    def test_the_label_is_that_of_the_window_in_the_resized_one(self):
        label, rng = np.arange(36, dtype=np.uint8).reshape(6, 6), np.random.default_rng(0)
        for _ in range(100):
            area, shown = draw_crop(label, (9, 13), (4, 5), 1, rng)
            np.testing.assert_array_equal(shown, resize_label(label, (9, 13), np.s_[0:9, 0:13])[area])

    def test_a_picture_smaller_than_the_crop_is_taken_whole(self):
        label = np.zeros((2, 3), np.uint8)
        area, shown = draw_crop(label, (2, 3), (5, 7), 1, np.random.default_rng(0))
        assert (area, shown.shape) == (np.s_[0:2, 0:3], (2, 3))

    def test_it_is_drawn_again_ten_times_and_the_last_is_taken(self):
        label, rng = np.array([[0] * 9 + [1]], np.uint8), np.random.default_rng(0)  # 1 of 9 windows has both classes
        mixed = sum(draw_crop(label, (1, 10), (1, 2), 0.75, rng)[1].any() for _ in range(6000))
        assert mixed / 6000 == pytest.approx(1 - (8 / 9) ** 11, abs=0.015)  # 10 draws would give 0.692

    def test_a_share_of_1_accepts_the_first_draw(self):
        label, rng = np.array([[0] * 9 + [1]], np.uint8), np.random.default_rng(0)
        mixed = sum(draw_crop(label, (1, 10), (1, 2), 1, rng)[1].any() for _ in range(6000))
        assert mixed / 6000 == pytest.approx(1 / 9, abs=0.015)


def test_the_frames_of_a_clip_change_alike(sample):
    clip = {**sample, "image": np.stack([sample["image"], sample["image"][::-1], sample["image"] // 2])}
    augment = TrainAugment(crop=(30, 50), ratio=(0.5, 1.5))
    for seed in range(20):
        frames = augment(clip, np.random.default_rng(seed))
        assert frames["image"].shape == (3, 3, 30, 50)
        assert frames["image"].flags.c_contiguous
        for number, frame in enumerate(clip["image"]):
            alone = augment({**sample, "image": frame}, np.random.default_rng(seed))
            np.testing.assert_array_equal(frames["image"][number], alone["image"])
            np.testing.assert_array_equal(frames["label"], alone["label"])


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([0, 0, 0, 1], False),  # exactly 75 %
        ([0, 0, 0, 1, 1], True),
        ([0, 0, 0, 1, 255, 255], False),  # ignored pixels count nowhere
        ([0, 0, 1, 255, 255], True),
        ([0, 255, 255, 255], False),  # one class
        ([255, 255, 255, 255], False),  # none
        ([1, 2, 3, 4], True),
    ],
)
def test_mixed_means_two_classes_and_none_with_the_share(label, expected):
    assert is_mixed(np.array([label], np.uint8), 0.75) is expected


def test_a_mirror_image_swaps_left_and_right_and_the_paired_classes():
    image = np.arange(6, dtype=np.uint8).reshape(3, 1, 2)
    mirrored, label = mirror(image, np.array([[14, 3, 255, 15]], np.uint8), ((14, 15), (16, 17)))
    np.testing.assert_array_equal(mirrored, image[:, :, ::-1])
    np.testing.assert_array_equal(label, [[14, 255, 3, 15]])


def test_mirroring_twice_gives_the_picture_back(sample):
    pairs = ((0, 1), (2, 3))
    image, label = mirror(*mirror(sample["image"], sample["label"], pairs), pairs)
    np.testing.assert_array_equal(image, sample["image"])
    np.testing.assert_array_equal(label, sample["label"])


def test_padding_goes_to_the_right_and_below():
    image, label = pad(np.full((3, 1, 2), 7, np.uint8), np.full((1, 2), 4, np.uint8), (2, 3), (10, 20, 30))
    np.testing.assert_array_equal(label, [[4, 4, 255], [255, 255, 255]])
    np.testing.assert_array_equal(image[2], [[7, 7, 30], [30, 30, 30]])


class TestArguments:
    def test_the_defaults_are_those_of_the_cityscapes_models(self):
        assert TrainAugment() == TrainAugment(
            crop=(512, 1024),
            base_scale=None,
            ratio=(0.5, 2.0),
            max_class_share=0.75,
            flip=0.5,
            photometric=True,
            fill=(124, 116, 104),
            flip_pairs=(),
        )

    def test_lists_as_in_a_yaml_file_become_tuples(self):
        assert TrainAugment(crop=[4, 8], flip_pairs=[[1, 2]]) == TrainAugment(crop=(4, 8), flip_pairs=((1, 2),))

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"crop": (0, 4)}, "crop must be a whole number from 1"),
            ({"crop": 512}, "crop must be a list of 2 values, got 512"),
            ({"base_scale": (2048,)}, "base_scale must be a list of 2 values"),
            ({"ratio": (2, 0.5)}, r"ratio must be \[least, largest\]"),
            ({"ratio": (0, 1)}, "ratio must be a number from 0.01"),
            ({"flip": 1.5}, "flip must be a number from 0 to 1"),
            ({"max_class_share": -1}, "max_class_share must be"),
            ({"photometric": "yes"}, "photometric must be true or false"),
            ({"fill": (0, 0, 256)}, "fill must be a whole number from 0 to 255"),
            ({"flip_pairs": [(1, 2, 3)]}, "flip_pairs must be a list of 2 values"),
        ],
    )
    def test_wrong_values_are_refused_by_name(self, wrong, message):
        with pytest.raises(DataError, match=message):
            TrainAugment(**wrong)
