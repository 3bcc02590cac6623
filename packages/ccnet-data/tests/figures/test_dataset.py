import numpy as np
import pytest

from ccnet_data.augment import mirror
from ccnet_data.errors import DataError
from ccnet_data.layouts.lip import Lip
from ccnet_data.registry import check, load
from ccnet_data.testing import check_dataset, check_sample

LEFT_AND_RIGHT = ("arm", "leg", "shoe")


@pytest.fixture(scope="module")
def samples():
    return list(load("figures", split="train", length=120))


def middle_column(label, part):
    return np.nonzero(label == part)[1].mean()


def part(name):
    return Lip.description.classes.index(name)


def test_the_dataset_conforms():
    dataset = load("figures", split="val", length=20, size=64, seed=3)
    check_dataset(dataset)
    for sample in dataset:
        check_sample(sample, dataset)
    assert len({sample["id"] for sample in dataset}) == 20


def test_classes_colours_and_pairs_are_those_of_lip():
    dataset, lip = load("figures", split="train"), Lip.description
    assert (len(dataset), dataset.task) == (2000, "segmentation")
    assert (dataset.classes, dataset.palette, dataset.flip_pairs) == (lip.classes, lip.palette, lip.flip_pairs)


def test_all_20_parts_occur_and_no_pixel_is_ignored(samples):
    assert set(np.concatenate([np.unique(sample["label"]) for sample in samples])) == set(range(20))


def test_sizes_differ_and_the_longest_side_is_bounded(samples):
    shapes = {sample["label"].shape for sample in samples}
    assert len(shapes) > 60
    assert max(max(shape) for shape in shapes) <= 160
    assert min(max(shape) for shape in shapes) >= 0.6 * 160 - 1


@pytest.mark.parametrize("limb", LEFT_AND_RIGHT)
def test_the_left_of_a_person_is_on_the_right_of_the_picture(samples, limb):
    left, right = part(f"Left-{limb}"), part(f"Right-{limb}")
    both = [sample["label"] for sample in samples if {left, right} <= set(np.unique(sample["label"]))]
    assert len(both) > 50
    for label in both:
        assert middle_column(label, left) > middle_column(label, right)


def test_so_it_is_in_a_mirror_image_with_its_parts_swapped(samples):
    pairs = Lip.description.flip_pairs
    for sample in samples[:30]:
        _, label = mirror(sample["image"], sample["label"], pairs)
        for left, right in pairs:
            if {left, right} <= set(np.unique(label)):
                assert middle_column(label, left) > middle_column(label, right)


def test_a_sample_depends_on_seed_split_and_index_alone():
    one = load("figures", split="train", length=5)[4]
    again = load("figures", split="train", length=9)[4]
    assert one["id"] == again["id"]
    np.testing.assert_array_equal(one["image"], again["image"])
    np.testing.assert_array_equal(one["label"], again["label"])
    others = [
        load("figures", split="val")[4],
        load("figures", split="train", seed=1)[4],
        load("figures", split="train")[3],
    ]
    for other in others:
        assert other["image"].shape != one["image"].shape or (other["image"] != one["image"]).any()


def test_val_may_show_the_pictures_of_train():
    train, val = (load("figures", split=split, length=4, shared=True) for split in ("train", "val"))
    assert [sample["id"] for sample in train] == [sample["id"] for sample in val]
    np.testing.assert_array_equal(train[3]["image"], val[3]["image"])


def test_an_unknown_split_gets_the_known_ones():
    with pytest.raises(DataError, match=r"has no split 'test'\. Known: train, val\."):
        load("figures", split="test")


def test_options_out_of_range_are_told_together():
    faults = " ".join(check("figures", {"size": 8, "length": 0, "sed": 1}))
    assert all(word in faults for word in ("size", "length", "sed"))
